"""Tells two words from the halves of one, where what stood between them is unknown. Short lists of English words decide."""

from __future__ import annotations

from functools import cache

__all__ = ["are_two_words", "is_word"]

_COMMON = """
a about after again all along also always am an and any are around as asked ask at ate away back be because been before began
big blue boy but by called came can cat could day did do dog down each eat end every eyes face far fast felt few find first
for found friend friends from fun gave get girl give go going good got great green had hand happy hard has have he heard help
her here high him his home house how i if in is it its jump jumped just kept kind knew know last laughed let like liked little
live lived long look looked looking lot loved made make man many may me mom dad mommy daddy more most mother father much must
my named need never new next nice no not now of off old on once one only open or other our out over play played playing put
ran read red ride right run sad said same sat saw say see she should show shy small smiled so some soon started stay still
stop such take talk tall tell than thank that the their them then there these they thing things think this those thought
three threw time to told too took top toy tree tried try two under until up upon us use very wait walk walked want wanted was
water way we well went were what when where which while white who why will wish with word work world would year years yes yet
you young your either neither something nothing everything happened happily happy ever lots decided opened picked thanked both know worry
floor ground room woods sun sky moral surprised sorry careful together inside outside heard quickly suddenly finally
wanted loved smiled jumped looked walked played helped hugged cried laughed shouted whispered replied answered asked
knew learned lesson important story another people hands head door bed toys tired noticed realized remembered
promise fast slow hot cold light dark bright beautiful pretty magic special garden park forest river field lake sea beach hill
tree trees flower flowers rock box book ball doll car truck boat train bike kitchen school store farm street town
moment morning night day afternoon evening lunch dinner breakfast food cake apple cookie bread milk water
dog dogs cat cats bird birds bear rabbit fox frog duck mouse fish bug bee ant horse cow pig lion tiger king queen prince princess
brother sister baby teacher boys girls kids children woman
"""
_COMPOUNDS = """
today into onto upon underwater without within inside outside something someone somebody sometimes somewhere anything anyone anywhere
everything everyone everybody everywhere nothing nobody myself yourself himself herself itself themselves ourselves cannot
another together forget forgot become became before begin began begun behind below beside besides between beyond birthday
rainbow away around along alone ago afraid aloud about above across again against ahead alive almost already always anyway
awake football bedroom bathroom grandma grandpa grandmother grandfather butterfly sunshine sunny outdoors indoors upstairs
downstairs playground maybe goodbye however whenever wherever whatever whoever although throughout meanwhile overall overhead
underneath understand understood tomorrow tonight snowman firefly fireman policeman airplane notebook teapot pancake cupcake
popcorn seashell starfish goldfish mailbox sandbox toybox bookshelf fireplace homework housework lighthouse treehouse
greenhouse doghouse farmhouse weekend highway runway driveway railway sidewalk backyard backpack bigger thread thin then them
these there their they than that theme throne thing things think item iron island idea ice inch ink insect instead person
button carrot season reason handsome lonesome awesome welcome wonderful forever forest forward wherein sofa soap soon son
oneself seesaw asleep aside await apart anew beat bean bear beard beast behave belong bend best bet better forbid forgive
forty noon north note notice nose nowhere hero heroine hence hear heard heart heat hereby histories isle its itself ton tone
top tore tower town toward towards toad toast tooth other mother father brother bother gather weather leather another rather
orange order organ ore outfit outing overcome overt usual used useful user wean wear weapon web wed well were west wet
mean meal meat meant meet melt men mess met mermaid amuse ambush among amount ant android andes onion online only open orchid
seed seek seem seen shell shed shelf hat hate hasten hast island ask asking atom attack attic ate
anymore nearby office basketball makeup cocoa birdcage forgave network sweetheart human afternoon someday blueberry strawberry
playtime bedtime daytime nighttime lunchtime dinnertime stirring sharing hearing anytime dollhouse doorbell
doorway aisle campfire beloved newfound piglet mayor cowboy birdhouse beam hissing otherwise moonlight lookout heartbroken
tightrope playhouse toothbrush sunlight daylight spotlight earring armchair wheelchair bathtub bathroom waterfall watermelon
fireworks firewood snowball snowflake ladybug dragonfly grasshopper caterpillar sunday monday tuesday wednesday thursday friday
saturday yesterday holiday gogo toto dodo area awe ana cara cari carla carlo alexa andrew jordan violet ami harold
whoa heather richard william bethany jimmy sammy timmy tommy mickey marian fergus zooey zoomy hasan poison person excuse carry
carrot carpet carton cargo card care cart carve catch cattle capital candy candle cannot handle island dollar dolly doggy kitty
sandy andy toyed boyish manage mango manner many mandy redo reddish beach bedside goodness goodnight sadness badly begone
overheard overjoyed undergo underground understanding outdoor indoor instant insect inspire intent invite asset assist
withdraw withhold notable nothing noted andrea butter button buttons canyon scary
donut sunflower sunflowers thinking thanking working seeking dishwasher thermometer playroom toolbox doing going seeing being sawdust toenail tofu token tool torn total touch tour
"""
_CONTRACTED = ("'s", "n't", "'m", "'re", "'ve", "'ll", "'d")
_PARTICLES = frozenset(["the", "was", "were", "his", "her", "their", "they", "that", "with", "had"])


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    """Common words, and all known words, in lower case."""
    from ..corpus import _words

    texts = [value for name in _words.__all__ for value in _flat(getattr(_words, name))]
    common = frozenset(_COMMON.split())
    return common, common | frozenset(_COMPOUNDS.split()) | frozenset(word.lower() for item in texts for word in item.split())


def _flat(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _flat(part)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [text for part in value for text in _flat(part)]
    return []


def are_two_words(left: str, right: str) -> bool:
    """Whether `left` and `right`, found with something between them that is no space, are two words and not the halves of one.

    >>> are_two_words("Once", "upon"), are_two_words("hap", "py"), are_two_words("to", "day")
    (True, False, False)
    """
    common, known = _lists()
    first, second = left.lower().replace("’", "'"), right.lower()
    if first.endswith(_CONTRACTED):
        return True
    if first + second in known:
        return False
    if right[0].isupper() and left[-1].islower():
        return True
    if first in known and second in known:
        return first in common or second in common or min(len(first), len(second)) > 3
    if (second in _PARTICLES and len(first) > 4) or (first in _PARTICLES and len(second) > 4):
        return True
    if left.isdecimal():
        return len(second) > 3
    return second in known and len(second) > 3 and left[0].isupper() and len(left) > 2


def is_word(letters: str) -> bool:
    """Whether letters are a word of the lists."""
    return letters.lower() in _lists()[1]
