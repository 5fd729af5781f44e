"""Shell scripts read before they run.

:func:`parse` gives every simple command, assignment and redirection of a script wherever it stands
(pipes, lists, substitutions, functions, here-documents), or refuses with a ``parse.*`` code. A doubt is
a refusal and never a question to a person: nobody can answer for a script that cannot be read.

tree-sitter-bash is tolerant where bash is not and has been measured to read some scripts differently,
so this module adds its own checks (``;;`` outside ``case``, closing words in command position, line
continuations inside a word) and walks with a cursor, since a deep list overflows a recursive walk.
What it reads is advice for the policy; the sandbox is the boundary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec
import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from pushpals.policy.plain import RESERVED, Pipeline, plain_form
from pushpals.policy.words import Dynamic, unquoted, words_in

MAX_SCRIPT_BYTES = 16 * 1024
MAX_COMMANDS = 200
MAX_DEPTH = 64
MAX_OPERATORS = 1000
"""Of ``|`` and of ``(`` each: more of them make the parser's work grow with the square (1.5 s for 8,000)."""

ParseCode = Literal[
    "parse.empty",
    "parse.nul",
    "parse.cr",
    "parse.encoding",
    "parse.too-long",
    "parse.too-many",
    "parse.depth",
    "parse.error",
    "parse.continuation",
]


class ShellCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One simple command. Words that only the run will know are :class:`Dynamic`."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    """Assignments in front of it, or made by it (``export``)."""
    text: str = ""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A script that could be read."""

    commands: tuple[ShellCommand, ...]
    assignments: tuple[tuple[str, str], ...] = ()
    """Assignments that stand alone, loop variables, and ``${NAME:=...}``."""
    redirects: tuple[str, ...] = ()
    """Targets of redirections, in order."""
    plain: tuple[Pipeline, ...] | None = None
    """The script as argument lists, when it needs no shell; see :mod:`pushpals.policy.plain`."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A script that is not judged, so not run."""

    code: ParseCode
    detail: str


_BASH = Language(tree_sitter_bash.language())
_NESTING = words_in(
    "subshell compound_statement command_substitution process_substitution if_statement "
    "while_statement for_statement c_style_for_statement case_statement function_definition expansion "
    "arithmetic_expansion test_command parenthesized_expression"
)
_COMMANDS = frozenset({"command", "declaration_command", "unset_command", "test_command"})
_WORDS = frozenset(
    {"word", "string", "raw_string", "ansi_c_string", "translated_string", "concatenation", "number"}
    | {"simple_expansion", "expansion", "command_substitution", "process_substitution", "brace_expression"}
    | {"arithmetic_expansion"}
)
_REDIRECTS = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})
_QUOTED = frozenset(
    {"raw_string", "ansi_c_string", "string", "string_content", "heredoc_body", "heredoc_content", "comment"}
)
_RESERVED = RESERVED - {"!", "time", "coproc"}
_CONTINUATION = re.compile(rb"(\\+)\n")


def parse(script: str) -> Script | Refused:
    """Read ``script``. Never raises; at most 16 KiB, 200 commands, 64 levels."""
    refusal = _refused_text(script)
    if refusal:
        return refusal
    source = script.encode()
    root = Parser(_BASH).parse(source).root_node
    if root.has_error:
        return Refused(code="parse.error", detail="this is not a complete bash script")
    walked = _walk(root, source)
    if isinstance(walked, Refused):
        return walked
    if all(child.type == "comment" for child in root.named_children):
        return Refused(code="parse.empty", detail="there is no command in the script")
    if found := _joined_lines(root, source):
        return found
    plain = plain_form(script)
    if plain is not None:
        steps = [step.argv for pipeline in plain for step in pipeline.steps]
        # Two readers must agree before one of them decides what runs.
        if steps != [command.argv for command in walked.commands] or walked.assignments:
            plain = None
    return msgspec.structs.replace(walked, plain=plain)


def _refused_text(script: str) -> Refused | None:
    try:
        size = len(script.encode())
    except UnicodeEncodeError:
        return Refused(code="parse.encoding", detail="the script is not valid text")
    if script.startswith(("-", "+")):
        return Refused(code="parse.error", detail="a shell would take the beginning for an option")
    if "\0" in script:
        return Refused(code="parse.nul", detail="the script contains a NUL character")
    if "\r" in script:
        return Refused(code="parse.cr", detail="the script contains a carriage return")
    if size > MAX_SCRIPT_BYTES:
        return Refused(code="parse.too-long", detail=f"{size} bytes, at most {MAX_SCRIPT_BYTES}")
    if max(script.count("|"), script.count("(")) > MAX_OPERATORS:
        return Refused(code="parse.too-many", detail=f"more than {MAX_OPERATORS} operators")
    return None


def _walk(root: Node, source: bytes) -> Script | Refused:
    commands: list[ShellCommand] = []
    assignments: list[tuple[str, str]] = []
    redirects: list[str] = []
    trailing: dict[int, list[Node]] = {}
    cursor = root.walk()
    depth = 0
    while True:
        node = cursor.node
        assert node is not None
        kind = node.type
        if kind in _NESTING:
            depth += 1
            if depth > MAX_DEPTH:
                return Refused(code="parse.depth", detail=f"nested deeper than {MAX_DEPTH}")
        problem = _problem(node)
        if problem:
            return Refused(code="parse.error", detail=problem)
        if kind == "redirected_statement" and (extra := _trailing_words(node)):
            owner = _owner(node)
            if owner is None:
                return Refused(code="parse.error", detail="a word after a redirection belongs to nothing")
            trailing.setdefault(owner.id, []).extend(extra)
        if kind in _COMMANDS:
            commands.append(_command(node, trailing.get(node.id, [])))
            if len(commands) > MAX_COMMANDS:
                return Refused(code="parse.too-many", detail=f"more than {MAX_COMMANDS} commands")
        elif kind == "variable_assignment":
            if node.parent is None or node.parent.type not in ("command", "declaration_command"):
                assignments.append(_assignment(node))
        elif kind == "for_statement":
            name = node.child_by_field_name("variable")
            assignments.append((_text(name), "") if name else ("", ""))
        elif kind == "expansion":
            if found := re.match(r"\$\{!?(\w+)(?:\[[^]]*\])?:?=", _text(node)):
                assignments.append((found[1], ""))
        elif kind == "file_redirect":
            redirects += [unquoted(_text(target)) for target in _targets(node)[:1]]
        if cursor.goto_first_child():
            continue
        while True:
            left = cursor.node
            if left is not None and left.type in _NESTING:
                depth -= 1
            if cursor.goto_next_sibling():
                break
            if not cursor.goto_parent():
                return Script(
                    commands=tuple(commands), assignments=tuple(assignments), redirects=tuple(redirects)
                )


def _problem(node: Node) -> str | None:
    """What bash would not accept here although the grammar does."""
    parent = node.parent
    carriers = ("redirected_statement", "heredoc_redirect", "command")
    stray = node.type == "file_redirect" and (parent is None or parent.type not in carriers)
    if stray and len(_targets(node)) > 1:
        return "a word after a redirection"
    if node.type in (";;", ";&", ";;&") and (parent is None or parent.type != "case_item"):
        return f"`{node.type}` outside a case"
    if node.type == "file_redirect" and re.match(r"\d*[<>&|]+[ \t]*\n", _text(node)):
        return "a redirection without a target"
    if node.type == "word" and re.search(r"\s", re.sub(r"\\.", "", _text(node), flags=re.DOTALL)):
        return "a word with a space in it"
    if node.type == "command":
        words = [_text(child) for child in node.children if child.type != "variable_assignment"]
        while words and words[0] in ("time", "coproc"):
            words = [word for word in words[1:] if word != "-p"] or [""]
        if words and (words[0] in _RESERVED or words[0].startswith("#") or not words[0]):
            return f"`{words[0]}` cannot begin a command"
    return None


def _targets(redirect: Node) -> list[Node]:
    """The words of a redirection: its target, and what the grammar takes into it although it is not."""
    return [child for child in redirect.named_children if child.type != "file_descriptor"]


def _trailing_words(statement: Node) -> list[Node]:
    """In ``nohup >log sudo id`` bash reads ``sudo id`` as words of the command; the grammar as targets."""
    found: list[Node] = []
    for redirect in statement.children:
        if redirect.type == "file_redirect":
            found += _targets(redirect)[1:]
        elif redirect.type == "heredoc_redirect":
            for child in redirect.named_children:
                if child.type == "file_redirect":
                    found += _targets(child)[1:]
                elif child.type in _WORDS:
                    found.append(child)
    return found


def _owner(statement: Node) -> Node | None:
    """The command that words behind the redirections of ``statement`` belong to: its last one."""
    node = statement.children[0] if statement.children else None
    while node is not None and node.type not in _COMMANDS:
        if node.type not in ("redirected_statement", "pipeline", "negated_command"):
            return None
        inner = [child for child in node.named_children if child.type not in _REDIRECTS]
        node = inner[-1] if inner else None
    return node


def _command(node: Node, trailing: Sequence[Node] = ()) -> ShellCommand:
    argv: list[str] = []
    env: list[tuple[str, str]] = []
    if node.type == "test_command":
        return ShellCommand(argv=("[[", Dynamic(_text(node))), text=_text(node))
    for child in node.children:
        if child.type == "variable_assignment":
            env.append(_assignment(child))
            if node.type == "declaration_command":
                argv.append(Dynamic(_text(child)))
        elif child.type == "file_redirect":
            argv += [unquoted(_text(word)) for word in _targets(child)[1:]]
        elif child.type not in _REDIRECTS and child.type != "comment":
            argv.append(unquoted(_text(child)))
    argv += [unquoted(_text(word)) for word in trailing]
    return ShellCommand(argv=tuple(argv), env=tuple(env), text=_text(node))


def _assignment(node: Node) -> tuple[str, str]:
    name, _, value = _text(node).partition("=")
    return re.sub(r"(\[.*)?\+?$", "", name, flags=re.DOTALL), unquoted(value)


def _joined_lines(root: Node, source: bytes) -> Refused | None:
    """Bash glues ``su\\<newline>do`` into one word, the grammar reads two."""
    for found in _CONTINUATION.finditer(source):
        before = source[found.start() - 1 : found.start()]
        after = source[found.end() : found.end() + 1]
        if (
            len(found[1]) % 2 == 0
            or before in (b"", b" ", b"\t", b"\n")
            or after in (b"", b" ", b"\t", b"\n")
        ):
            continue
        node = root.descendant_for_byte_range(found.end() - 1, found.end())
        if node is None or node.type not in _QUOTED:
            return Refused(code="parse.continuation", detail="a line continuation inside a word")
    return None


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
