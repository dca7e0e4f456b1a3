"""What a splits/ folder holds, as text, as a card and as a report of leakage."""
