"""A clause as words that patterns can match: case, politeness, articles and typing errors taken away.

Nothing here decides what a clause means. Mending is careful: only words of four letters or more, only to a
word of our own vocabulary, only one slip away, never a word that is English of its own (``list`` stays
``list``), and never when two words of ours are equally near.
"""

from __future__ import annotations

import re
import unicodedata

import msgspec


class Clause(msgspec.Struct, frozen=True, kw_only=True):
    """``words`` holds ``@`` where paths stood and ``#`` where a job id stood."""

    words: tuple[str, ...]
    paths: tuple[str, ...] = ()
    job_id: str | None = None
    bad_path: str | None = None
    greeting: bool = False


MAX_PATHS = 50

_JOB = re.compile(r"job-[0-9a-z][0-9a-z-]*")
_PATH = re.compile(
    r"""[\w.@+*\[\]-]* (?: / [\w.@+*\[\]-]* )+ (?: ::[\w.:\[\]-]+ )?      # with a slash, maybe a test id
      | [\w-]+ (?: \.[\w-]+ )* \.[A-Za-z]\w{0,9} (?: ::[\w.:\[\]-]+ )?     # a file name with an ending
    """,
    re.VERBOSE,
)


def _any(phrases: str) -> str:
    """Alternatives, one or more on each line."""
    lines = [line.strip() for line in phrases.strip().splitlines()]
    return "(?:" + "|".join(lines) + ")"


_HELLO = r"(?:hi|hello|hey|hiya|howdy|yo|moin|good (?:morning|afternoon|evening))"
_GREETING = re.compile(_HELLO + r"\b[\s,!.]*(?:there|all|team)?")
_BEFORE = re.compile(
    _any(
        rf"""
        {_HELLO}
        there|team|ok|okay|alright|right|so|well|now|then|also|next|first|finally|and
        please|pls|plz|kindly|just|maybe|perhaps|quickly|simply|thanks|thank you
        great|cool|nice|perfect|yes|yeah|yep|sure
        @?(?:remote )?budd(?:y|ies)|@?push ?pals?|pals?|@?remote
        would you mind|do you mind|(?:could|can|would|will) (?:you|we)|are you able to
        (?:is it|would it be) possible to
        i(?:'d| would) (?:like|love)(?: for)?(?: you| us)? to|i(?:'d| would) (?:like|love)
        (?:i|we) (?:want|need)(?: you| us)? to|(?:i|we) (?:want|need)
        let'?s|let us|let me see|go ahead and|go and|go|time to|try to|try and
        make sure to|make sure you|be so kind (?:as )?to|(?:you|we) (?:should|can|may|could|must)
        it would be (?:nice|great|good) if you(?: could)?|it would be (?:nice|great|good) to
        help me(?: to)?|start to|begin to|to
        """
    )
    + r"\b[\s,:!.]*"
)
_AFTER = re.compile(
    r"[\s,]*(?:\b"
    + _any(
        r"""
        please|pls|plz|thanks(?: a lot| so much)?|thank you(?: very much| so much)?|thx|ty|cheers
        for me|for us|now|right now|right away|asap|immediately|today|quickly|real quick
        again|once more|one more time|first|next|as well|too|also|there|here
        if you can|if possible|when you can|when you have (?:the )?time
        would you|will you|could you
        ok|okay|all right|mate|buddy|pals?
        """
    )
    + r"|[.!?…:;]+|[:;][-']?[)D]|[^\x00-\x7f]+)$"
)
_SMALL = """
    the a an my our your its some any these those whole entire full complete remaining current currently
    existing safe just me please also all
"""
_ARTICLES = frozenset(_SMALL.split())
_GERUNDS = {
    "running": "run", "rerunning": "rerun", "fixing": "fix", "checking": "check", "applying": "apply",
    "landing": "land", "stopping": "stop", "retrying": "retry", "reformatting": "reformat",
    "correcting": "correct", "executing": "execute", "merging": "merge", "cancelling": "cancel",
    "canceling": "cancel", "taking": "take", "having": "have", "trying": "try", "telling": "tell",
    "showing": "show", "looking": "look",
}  # fmt: skip
_CONTRACTIONS = {
    "teh": "the", "hte": "the", "rnu": "run", "urn": "run", "fxi": "fix", "ifx": "fix", "tets": "tests",
    "pleas": "please", "plase": "please", "pleae": "please",
    "what's": "what is", "whats": "what is", "what're": "what are", "who's": "who is", "how's": "how is",
    "hows": "how is", "it's": "it is", "that's": "that is", "where's": "where is", "is there": "is",
    "are there": "are",
}  # fmt: skip


def canonical(text: str) -> Clause:
    """``text`` in small letters, without politeness and articles, with slots for paths and job ids."""
    line = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("`", "").replace('"', "")
    line = " ".join(line.split())
    line, paths, job_id, bad = _slots(line)
    line = line.lower()
    for short, long in _CONTRACTIONS.items():
        line = re.sub(rf"(?<![\w']){re.escape(short)}(?![\w'])", long, line)
    greeting = _GREETING.match(line) is not None
    line = _trim(line)
    words = [_GERUNDS.get(word, word) if place == 0 else word for place, word in enumerate(line.split())]
    kept = tuple(word.strip(",:!") for word in words if word not in _ARTICLES)
    return Clause(
        words=tuple(word for word in kept if word),
        paths=paths,
        job_id=job_id,
        bad_path=bad,
        greeting=greeting,
    )


def _slots(line: str) -> tuple[str, tuple[str, ...], str | None, str | None]:
    paths: list[str] = []
    job_id = bad = None
    words: list[str] = []
    for word in line.split():
        bare = word.strip(",;:!?()'").rstrip(".")
        if _JOB.fullmatch(bare.lower()):
            job_id = bare.lower()
            words.append("#" + word[len(word.rstrip(",;")) :])
        elif _PATH.fullmatch(bare) and not bare.startswith("@"):
            if bare.startswith("/") or ".." in bare.split("/"):
                bad = bad or bare
            if bare not in paths and len(paths) < MAX_PATHS:
                paths.append(bare)
            words.append("@" + word[len(word.rstrip(",;")) :])
        else:
            words.append(word)
    joined = re.sub(r"@(?:\s*,?\s*(?:and |, )?@)+", "@", " ".join(words))
    return joined, tuple(paths), job_id, bad


def _trim(line: str) -> str:
    """Polite words off both ends, as long as something else is left."""
    for _ in range(12):
        before = line
        found = _BEFORE.match(line)
        if found and line[found.end() :].strip(" .,!?"):
            line = line[found.end() :]
        ending = _AFTER.search(line)
        if ending and line[: ending.start()].strip(" .,!?"):
            line = line[: ending.start()]
        line = line.strip(" ,")
        if line == before:
            break
    return line.rstrip(" .,!?…:;").strip()


# --- mending ----------------------------------------------------------------------------------------

_OURS = """
    run rerun execute start launch perform check checks verify test tests testsuite suite pytest spec
    specs unit integration lint lints linter linting ruff flake8 style code codebase fix autofix repair
    resolve correct clean cleanup remove address solve error errors issue issues warning warnings
    problem problems finding findings violation violations failure failures failing fails failed fail
    broken format formats formatted formatter formatting reformat black typo typos spelling misspelling
    misspellings mistake mistakes spellcheck type types typecheck typechecker typing mypy pyright apply
    patch diff status state progress jobs queue running happening going what which where looks land merge ship
    push submit stop cancel abort halt kill retry again help commands usage look around scan inspect
    report health everything files file repo repository project approve show changes change connect
    model agent last command ready green passing pass
"""
VOCABULARY: frozenset[str] = frozenset(_OURS.split())

_NOT_OURS = """
    list hint mint line like link print text texts rest best past paste form lane hand band sand lend
    step shop stat stats static states cheek chess tape tapes tasty toast taste stuff formal formals
    former forms fixed fixes tested tester testing rust mess models mode modes moral reset codes coke
    core cord ran rung here hello hell held hold halo posh chip laid lent want went kind mind bind that
    than then them they this these those there their were when whom whose white while note never none
    nothing dont cannot shouldn't marge emerge verge statue statute stature match catch watch batch
    pitch latch hatch book cook took hook lock luck lick loop loom queen resort retort deport applied
    apple apples reply supply ruin fine fire five life filed cleaner cleans lean typed typist nests
    vests pests bests checked checker cheeks chick chunk house mouse remote removed remover removes
    revive retire entry retro passed
"""
_ENGLISH = frozenset(_NOT_OURS.split())


def mend(words: tuple[str, ...]) -> tuple[str, ...]:
    """Each word, or the one word of the vocabulary that it is a slip away from."""
    return tuple(_mended(word) for word in words)


def _mended(word: str) -> str:
    if len(word) < 4 or word in VOCABULARY or word in _ENGLISH or not word.isalpha():
        return word
    near = {known for known in VOCABULARY if len(known) > 3 and _one_slip(word, known)}
    return near.pop() if len(near) == 1 else _by_plural(near, word)


def _by_plural(near: set[str], word: str) -> str:
    """``tst`` may be ``test`` or ``tests``: the same thing to every pattern, so the shorter will do."""
    stems = {known.removesuffix("s") for known in near}
    return min(near, key=len) if len(stems) == 1 else word


def _one_slip(word: str, known: str) -> bool:
    """One letter swapped with its neighbour, left out, doubled or wrong (a wrong one needs five letters)."""
    if abs(len(word) - len(known)) > 1:
        return False
    if len(word) == len(known):
        differ = [place for place, (a, b) in enumerate(zip(word, known, strict=True)) if a != b]
        if len(differ) == 1:
            return len(known) >= 5
        return (
            len(differ) == 2
            and differ[1] == differ[0] + 1
            and word[differ[0]] == known[differ[1]]
            and word[differ[1]] == known[differ[0]]
        )
    longer, shorter = (word, known) if len(word) > len(known) else (known, word)
    return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))
