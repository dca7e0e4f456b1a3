"""Ids to book text: a log-linear model of blanks and capitals, learned from the training stories."""
