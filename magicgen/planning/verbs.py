"""What verbs look like in a picture: every form of a verb, mapped to one of the poses that a picture can show."""

from magicgen.planning.wordlist import words_of

_DOING = {
    "walks": "walk go come stroll wander march step travel arrive enter cross climb follow move head approach return "
    "hike tiptoe creep trot stride pass leave visit swim float sail crawl roam explore journey carry bring",
    "runs": "run race chase hurry rush flee dash sprint gallop escape",
    "waves": "wave greet salute beckon",
    "jumps": "jump leap hop bounce skip fly soar",
    "sits": "sit rest sleep nap eat drink read lie doze lean dream kneel fish snore",
    "dances": "dance sing celebrate spin twirl play cheer juggle perform",
    "talks": "say talk ask answer reply shout whisper call tell cry speak explain exclaim yell sigh laugh giggle "
    "mutter murmur add agree beg promise warn announce argue chat growl squeak roar bark meow quack hoot croak bleat "
    "thank invite suggest declare gasp boast joke teach insist scold grumble cheep chirp purr",
    "stands": "stand stay wait look see watch find smile stop meet stare gaze hide hold notice listen point show give "
    "take get grab hug help share pick open build make wear want love like know feel be have begin start turn lose "
    "live gather nod bow shiver tremble frown pause discover lift pull push throw catch paint cook bake plant fix "
    "grow glow guard search reach keep put think wonder remember learn need appear join offer touch shake "
    "freeze win belong",
}
_IRREGULAR = {
    "go": "went gone",
    "come": "came",
    "run": "ran",
    "flee": "fled",
    "leap": "leapt",
    "fly": "flew flown",
    "sit": "sat",
    "sleep": "slept",
    "eat": "ate eaten",
    "drink": "drank drunk",
    "lie": "lay lying",
    "dream": "dreamt",
    "sing": "sang sung",
    "spin": "spun",
    "say": "said",
    "tell": "told",
    "cry": "cried",
    "speak": "spoke spoken",
    "think": "thought",
    "teach": "taught",
    "stand": "stood",
    "see": "saw seen",
    "find": "found",
    "meet": "met",
    "hide": "hid hidden",
    "hold": "held",
    "give": "gave given",
    "take": "took taken",
    "get": "got",
    "build": "built",
    "make": "made",
    "wear": "wore worn",
    "know": "knew",
    "feel": "felt",
    "be": "is are was were been am being",
    "have": "has had having",
    "begin": "began begun",
    "lose": "lost",
    "leave": "left",
    "swim": "swam swum",
    "creep": "crept",
    "bring": "brought",
    "throw": "threw thrown",
    "catch": "caught",
    "grow": "grew grown",
    "keep": "kept",
    "shake": "shook",
    "freeze": "froze",
    "win": "won",
    "show": "shown",
    "stride": "strode",
    "put": "put",
    "learn": "learnt",
}
THINKING = words_of("think thinks thought wonder wonders wondered dream dreams dreamed dreamt")
MEETING = words_of("meet meets met greet greets greeted hug hugs hugged talk talks talked chat chats chatted")


def forms(base: str) -> set[str]:
    """Every form that a verb may have (some that it has not; they meet nobody)."""
    stem = base[:-1] if base.endswith("e") else base
    made = {base, base + "s", base + "es", base + "ed", stem + "ed", stem + "ing", base + "ing"}
    if base.endswith("y"):
        made |= {base[:-1] + "ies", base[:-1] + "ied"}
    if base[-1] not in "aeiouwxy" and base[-2] in "aeiou":
        made |= {base + base[-1] + "ed", base + base[-1] + "ing"}
    return made | set(_IRREGULAR.get(base, "").split())


def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for action in reversed(_DOING):  # of forms that two verbs share, the more visible one wins
        for base in _DOING[action].split():
            table.update(dict.fromkeys(forms(base), action))
    # nouns and other words that only look like verbs
    for word in (
        "left",
        "thing",
        "being",
        "lying",
        "bow",
        "bows",
        "like",
        "fish",
        "show",
        "shows",
        "bed",
        "seed",
        "bees",
    ):
        table.pop(word, None)
    table["lying"] = "sits"
    return table


ACTIONS: dict[str, str] = _table()
"""Verb form -> pose word."""

SPEECH: frozenset[str] = THINKING | {form for base in _DOING["talks"].split() for form in forms(base)}
"""Forms that may stand beside a quotation."""
