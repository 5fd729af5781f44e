"""The clauses that are understood, as one table. The first pattern that matches a clause whole wins.

``@`` stands for one or more paths and ``#`` for a job id; articles and polite words are gone already.
Adding a request: a row here, a row in ``REQUESTS``, phrasings in the table test.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pushpals.roles.intents import (
    AnyIntent,
    Approve,
    Area,
    Beyond,
    Choice,
    Fix,
    Fixer,
    Greeting,
    Help,
    Land,
    Look,
    Question,
    Refused,
    Retry,
    RunChecks,
    Status,
    Stop,
)

Make = Callable[[tuple[str, ...], "str | None", str], AnyIntent]
"""Gets the clause's paths, its job id and its text."""

_PARTS = {
    "IN": "( (in|of|for|under|from|at|on|with|inside|over))?",
    "RUN": "(run|rerun|re-run|execute|start|do|try|launch|perform|kick off)",
    "FIX": "(fix|fix up|autofix|auto-fix|repair|resolve|correct|clean up|cleanup|clear|remove|address|solve"
    "|get rid of|take care of)",
    "SEE": "(check|show|list|verify|see|report|find|tell)",
    "IF": "( (if|whether|that))?",
    "BE": "(is|are|do|does|did)",
    "OK": "(pass|passes|passing|green|are green|are passing|ok|okay|fine|clean|succeed|work|run|right|correct"
    "|check)",
    "THING": "(code|codebase|repo|repository|project|files|file|everything|it|tree|source|sources|source code"
    "|python code|python files)",
    "TROUBLE": "( (error|issue|warning|problem|finding|violation|complaint|mistake|failure)s?)?",
    "TEST": "((unit |integration |unit-)?tests?|test ?suite|test-suite|suite|pytest|specs?)",
    "LINT": "(lints?|linters?|linting|ruff|flake8|style|code style|lint checks?|ruff check|style checks?)",
    "TYPO": "(typos?|spelling|misspellings?|spelling (mistake|error|typo)s?|misspelled words|misspelt words)",
    "TYPE": "(types?|type[ -]?checks?|type[ -]?checkers?|type[ -]checking|typing|mypy|pyright|type errors?)",
    "FORMAT": "(format|formatter|formatting|reformat|ruff format|black|code format|code formatter"
    "|auto-?format)",
    "FAILING": "(failing|broken|red|wrong|failed|not working|not passing)",
    "MAIN": "(main|master|trunk|build|ci)",
    "ONE": "(it|that|this|them|everything|(that|this|last|latest) (one|change|job|result|patch)|changes?"
    "|these changes|result|latest|work|patch)",
}


def _expanded(line: str) -> str:
    line = re.sub(r"\{WHERE\}", "({IN} (@|{THING}))*", line)
    while "{" in line:
        line = re.sub(r"\{([A-Z]+)\}", lambda found: _PARTS[found[1]], line)
    return line


def _pattern(phrases: str) -> re.Pattern[str]:
    """One alternative on each line, with the parts above in braces."""
    lines = [_expanded(line.strip()) for line in phrases.strip().splitlines()]
    return re.compile("|".join(lines).replace("(", "(?:"))


def _checks(area: Area) -> Make:
    return lambda paths, job, text: RunChecks(area=area, paths=paths)


def _run_paths(paths: tuple[str, ...], job: str | None, text: str) -> AnyIntent:
    if all(_TEST_PATH.search(path) for path in paths):
        return RunChecks(area="tests", paths=paths)
    named = " ".join(paths)
    return Question(
        text="Is that a command to run, or the place of tests to run?",
        choices=(f"run: {named}", f"run the tests in {named}"),
    )


_TEST_PATH = re.compile(r"(^|/)(tests?(/|$)|test_[^/]*$|[^/]*_test\.\w+$)|::")


def _fix(fixer: Fixer) -> Make:
    return lambda paths, job, text: Fix(fixer=fixer, paths=paths)


def _look(area: Area) -> Make:
    return lambda paths, job, text: Look(area=area, paths=paths)


def _ask(question: str, *choices: str) -> Make:
    return lambda paths, job, text: Question(text=question, choices=choices)


def _beyond(paths: tuple[str, ...], job: str | None, text: str) -> AnyIntent:
    return Beyond(goal=" ".join(text.split()))


_ORDINALS = ("first", "second", "third", "fourth", "fifth")


def _choice(paths: tuple[str, ...], job: str | None, text: str) -> AnyIntent:
    digits = re.search(r"\d+", text)
    if digits:
        return Choice(number=int(digits[0]))
    named = [place for place, word in enumerate(_ORDINALS, start=1) if word in text.lower()]
    return Choice(number=named[0] if named else 0)


_ROWS: tuple[tuple[str, Make], ...] = (
    # --- help, status, control
    (
        r"""
        help|usage|commands|(show|list) (commands|help|requests)
        what (can|could|do) (you|i|we) (do|ask|say|understand|offer|know)( for us| here)?
        how (does|do) (this|it|you|i use (this|it|you)) work|how do i (use|start with) (this|it|you)
        what are you( able to do)?|who are you|what can i (say|ask)( you)?
        """,
        lambda p, j, t: Help(),
    ),
    (
        r"""
        (how (do|can) (i|we) )?(connect|configure|add|set up|setup|use) (model|llm|ai|coding agent|agent)
        (help )?connect|help (with )?(model|agent|connect)
        """,
        lambda p, j, t: Help(topic="connect"),
    ),
    (
        r"""
        (show )?(status|state|progress|jobs|queue|summary)( report)?
        (show )?(status|state|progress) (of|on|for) (jobs|queue|everything|work)
        (report|give|tell|what is) (status|state|progress)
        what is (going on|happening|up|running|queued|waiting|open|left|pending|new|in queue)|what happens
        what are you (doing|up to|working on)|what is everybody doing
        how is it going|how are (things|things going|we doing)|where are we|how far are (you|we)
        (is|are) (anything|something|jobs|it|you)( still)? (running|waiting|queued|busy|ready|working)
        (is|are) (it|you|that)( already)? (done|finished)
        are you (done|busy|there|alive|finished|ready)|(who|what) is (working|busy|there)|show what is running
        """,
        lambda p, j, t: Status(),
    ),
    (
        r"(status|state|progress|show|how is|what about|what is)( (of|on|for))?( job)? #( (doing|going))?",
        lambda p, j, t: Status(job_id=j),
    ),
    (
        r"(land|merge|ship|push|submit|deliver)( {ONE})?( anyway| regardless)?( (to|on|into|onto) {MAIN})?",
        lambda p, j, t: Land(),
    ),
    (r"(land|merge|ship|push|submit)( job)? #( anyway| regardless)?", lambda p, j, t: Land(job_id=j)),
    (
        r"(approved?|lgtm|looks good|i approve|accept)( to( me)?)?( (it|that|this|change|landing))?",
        lambda p, j, t: Approve(),
    ),
    (r"(deny|denied|reject|decline)( {ONE}| landing)?", lambda p, j, t: Approve()),
    (
        r"""
        (stop|cancel|abort|halt|kill|quit|end|interrupt)( {ONE})?
        (stop|cancel|abort|halt|kill|end) (running|running jobs?|jobs?|tasks?|current job|working)
        never ?mind|forget (it|that)|stop what you are doing
        """,
        lambda p, j, t: Stop(),
    ),
    (r"(stop|cancel|abort|halt|kill|end)( job)? #", lambda p, j, t: Stop(job_id=j)),
    (
        r"""
        (retry|rerun|re-run|redo|repeat)( {ONE}| failed job| job)?( again)?
        try( {ONE})? again|(run|try) (it|that|last job|last one)|again|once more|one more time|another try|try
        """,
        lambda p, j, t: Retry(),
    ),
    (r"(retry|rerun|re-run|repeat|try|redo)( job)? #( again)?", lambda p, j, t: Retry(job_id=j)),
    # --- answers to a question, and manners
    (
        r"""
        (option |choice |number )?[1-9]|(first|second|third|fourth|fifth)( one| option)?
        yes|yeah|yep|y|sure|ok|okay|do (it|so|that)|correct|right|exactly
        """,
        _choice,
    ),
    (
        r"(thanks|thank you|thx|ty|cheers|great|nice|cool|perfect|well done|good job|nice work)"
        r"( (a lot|so much|very much))?",
        lambda p, j, t: Greeting(thanks=True),
    ),
    (
        r"(hi|hello|hey|hiya|howdy|yo|moin|good (morning|afternoon|evening))( (there|all|team))?",
        lambda p, j, t: Greeting(),
    ),
    # --- requests that miss their half
    (
        r"(apply|use|take)( (this|that|following|it|attached))?( (patch|diff))?|patch",
        _ask("Which patch? Paste the diff into the message, below the words `apply this patch`."),
    ),
    (
        r"(run|execute)( (this|following))?( command)?",
        _ask("Which command? Write it after a colon, for example `run: pytest -x`."),
    ),
    # --- checks
    (r"{RUN}( only| just)? @", _run_paths),
    (
        r"""
        {RUN}( only| just)? {TEST}{WHERE}|{RUN} @ tests?|test{WHERE}|{TEST}{WHERE}
        (check|see|verify){IF} {TEST}( still)?( {OK})?{WHERE}
        {BE} {TEST}( still)? {OK}{WHERE}
        """,
        _checks("tests"),
    ),
    (
        r"""
        ({RUN} )?(checks|ci|pipeline|check suite)({WHERE})|(check|verify|validate|test) {THING}
        check|verify|validate
        {BE} (checks|ci) {OK}|{RUN} (everything|every check)
        """,
        _checks("all"),
    ),
    (
        r"""
        ({RUN}|{SEE}) {LINT}{TROUBLE}{WHERE}|(lint|ruff|ruff check|linting|linter){WHERE}
        {BE} lint {OK}
        """,
        _checks("lint"),
    ),
    (
        r"""
        ({RUN}|{SEE}) {TYPE}{TROUBLE}{WHERE}|(type[ -]?check|mypy|pyright|type checking){WHERE}
        {BE} types {OK}
        """,
        _checks("types"),
    ),
    (
        r"(check|verify|see){IF} (formatting|format|code format)( is {OK})?{WHERE}|is {THING} formatted",
        _checks("format"),
    ),
    # --- fixes
    (
        r"""
        {FIX} {LINT}{TROUBLE}{WHERE}|(lint|ruff|style) fix(es)?{WHERE}|(ruff|ruff check) --fix{WHERE}
        {RUN} (lint|ruff|linter) fix(es|er)?{WHERE}|apply (lint|ruff|linter) fixes{WHERE}
        """,
        _fix("ruff"),
    ),
    (
        r"((re)?format|{FIX} {FORMAT}){WHERE} (anyway|regardless|nevertheless)",
        lambda p, j, t: Fix(fixer="format", force=True, paths=p),
    ),
    (
        r"""
        (format|reformat|auto-?format|ruff format|black|formatting){WHERE}
        ({RUN}|apply|use|{FIX}) {FORMAT}{TROUBLE}{WHERE}
        """,
        _fix("format"),
    ),
    (
        r"""
        ({FIX}|find and fix) {TYPO}{WHERE}|typos?{WHERE}|typo fix(es)?{WHERE}
        {RUN} (typos|spell[ -]?check|spell checker)( fixer)?{WHERE}
        """,
        _fix("typos"),
    ),
    (
        r"{SEE} {TYPO}{WHERE}|(spell[ -]?check|spelling){WHERE}",
        _ask("I can correct typos, and you see the change before anything lands. Shall I?", "fix typos"),
    ),
    (
        r"({FIX}|tidy up|tidy|clean|beautify) {THING}",
        _ask(
            "That is wider than I can do on my own. Which of these do you mean?",
            "fix the lint",
            "format the code",
            "fix typos",
        ),
    ),
    # --- looking
    (
        r"""
        what (is|are|does)( (still|not))? (fail|{FAILING}){WHERE}|what (fails|broke|failed){WHERE}
        which (tests?|checks?) (is |are |do |does )?(still )?(fail|fails|{FAILING}){WHERE}
        {SEE}( (what is|which are))? (failures?|what fails|{FAILING}){WHERE}
        {SEE} (failing|broken|failed) (tests?|checks?){WHERE}|(test|check) failures?{WHERE}
        (is|are) (anything|something|things?|{TEST}|{MAIN}|it|everything) {FAILING}{WHERE}
        what (is|are) (problems?|errors?|issues?|failures?)|failures?|failing( tests?)?
        why (is|are) (it|{TEST}|{MAIN}) {FAILING}|what do i need to fix|is there anything {FAILING}
        """,
        _look("tests"),
    ),
    (
        r"""
        (look|scan|inspect|analy[sz]e|examine|review|survey|explore)( (around|at))?{WHERE}
        (take|have) look( (around|at))?{WHERE}|(report|health|health report|health check)( (of|on))?{WHERE}
        how is {THING}( (doing|looking))?|what is (state|health|shape) of {THING}|show (health|report)
        how healthy is {THING}|what does {THING} look like
        """,
        _look("all"),
    ),
    # --- work for a mind
    (
        r"""
        ({FIX}|make) (failing |broken |flaky |failed |red )*({TEST}|checks|{MAIN})( {OK})?{TROUBLE}{WHERE}
        {FIX} ({TYPE}|(bug|failure|error|problem|issue|warning)s?|{ONE}|@){TROUBLE}{WHERE}
        {FIX} (what|whatever|everything that) is {FAILING}
        """,
        _beyond,
    ),
    (
        r"(revert|undo|roll ?back)( {ONE}| #| landing)?",
        lambda p, j, t: Refused(
            reason="I cannot take a landed change back from here yet.",
            remedy="Send `run: git revert --no-edit <commit>`: the reverse change then waits for your yes.",
        ),
    ),
)

PATTERNS: tuple[tuple[re.Pattern[str], Make], ...] = tuple((_pattern(text), make) for text, make in _ROWS)
