"""What a cell shows: tables, charts, files, and never anybody's markup."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushpals.notebook.asking import AskError, bind, parameters, pointed, tables
from pushpals.notebook.chart import MIME
from pushpals.notebook.completing import suggestions
from pushpals.notebook.result import Result
from pushpals.notebook.saved import OURS, Saved
from pushpals.notebook.shown import Listing, Told
from pushpals.store.sqlite.views import VIEWS

EVIL = "<script>alert(1)</script>\x1b[31m\u202e\"'&"
RESULT = Result(["id", "n", "what"], [["a", 1, EVIL], ["b", 20.5, None]])


def test_a_result_is_a_sequence_with_names() -> None:
    assert len(RESULT) == 2
    assert [row[0] for row in RESULT] == ["a", "b"]
    assert RESULT[1] == ("b", 20.5, None)
    assert RESULT.column("n") == [1, 20.5]
    assert RESULT.dicts()[1] == {"id": "b", "n": 20.5, "what": None}
    assert Result(["n"], [[3]]).scalar() == 3
    with pytest.raises(KeyError, match="id, n, what"):
        RESULT.column("m")


@pytest.mark.parametrize(
    "shown",
    [
        RESULT,
        Result([EVIL], [[EVIL]]),
        Listing(EVIL, [EVIL], [1], [[EVIL]]),
        Listing(EVIL, ["a"], [], []),
        Told([EVIL]),
        Told([f"+{EVIL}", f"-{EVIL}"], diff=True),
    ],
)
def test_foreign_text_is_never_markup(shown: Result) -> None:
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "<script" not in bundle["text/html"]
    for text in bundle.values():
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert repr(shown) == bundle["text/plain"]
    assert "0x" not in repr(shown)


def test_a_table_can_be_read_aloud() -> None:
    page = RESULT._repr_html_()
    assert page.count('<th scope="col">') == 3
    assert "<caption>2 rows</caption>" in page
    assert "<em>NULL</em>" in page
    cut = Result(["n"], [[1]], truncated=True)
    assert "1 row, truncated: there are more, see --limit" in cut._repr_html_()
    assert "truncated" in repr(cut)


def test_the_text_form_lines_up() -> None:
    assert repr(Result(["id", "n"], [["a", 1], ["long one", 20.5], ["c", None]])).split("\n") == [
        "id           n",
        "--------  ----",
        "a            1",
        "long one  20.5",
        "c         NULL",
        "(3 rows)",
    ]


def test_csv_goes_out_whole(tmp_path: Path) -> None:
    text = RESULT.to_csv()
    assert text is not None
    assert list(csv.reader(io.StringIO(text)))[1] == ["a", "1", EVIL]
    assert RESULT.to_csv(tmp_path / "out.csv") is None
    assert (tmp_path / "out.csv").read_text("utf-8") == text


def test_frames_need_their_package_and_say_so() -> None:
    for name, make in (
        ("pandas", RESULT.to_pandas),
        ("polars", RESULT.to_polars),
        ("pyarrow", RESULT.to_arrow),
    ):
        try:
            __import__(name)
        except ImportError:
            with pytest.raises(ImportError, match=f"pip install {name}"):
                make()
        else:
            assert make().shape == (2, 3)


TIMES = Result(
    ["job", "began", "ended", "s"],
    [["a", "2026-01-31T09:00:00.000Z", "2026-01-31T09:01:00.000Z", 60], ["b", "2026-01-31T09:02:00Z", None, None]],
)  # fmt: skip


def test_charts_choose_columns_that_fit() -> None:
    bar = TIMES.chart("bar").spec
    assert (bar["encoding"]["x"]["field"], bar["encoding"]["y"]["field"]) == ("job", "s")
    line = TIMES.chart("line").spec
    assert (line["encoding"]["x"]["type"], line["encoding"]["y"]["field"]) == ("temporal", "s")
    timeline = TIMES.chart("timeline", color="job")
    encoding = timeline.spec["encoding"]
    assert (encoding["x"]["field"], encoding["x2"]["field"], encoding["y"]["field"]) == (
        "began",
        "ended",
        "job",
    )
    bundle = timeline._repr_mimebundle_()
    assert bundle[MIME]["$schema"].endswith("/v5.json")
    assert json.loads(json.dumps(bundle[MIME])) == bundle[MIME]
    assert bundle["text/plain"] == "timeline chart: job from began to ended (2 rows)"
    assert Result(["a.b", "n"], [["x", 1]]).chart().spec["encoding"]["x"]["field"] == "a\\.b"


@pytest.mark.parametrize(
    ("result", "kind", "why"),
    [
        (Result(["a"], [["x"]]), "bar", "numbers for y"),
        (Result(["n"], [[1]]), "timeline", "two columns of times"),
        (Result(["a", "b"], [["x", "y"]]), "line", "times or numbers for x"),
    ],
)
def test_a_chart_that_cannot_be_drawn_says_what_is_missing(result: Result, kind: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        result.chart(kind)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'zz' is not among"):
        result.chart("bar", x="zz")


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a, :b, :a", ["a", "b"]),
        ("SELECT ':a', \":b\", `:c`, [:d] -- :e\n/* :f\n */ , :g", ["g"]),
        ("SELECT 'it''s :a' || :b", ["b"]),
        ("SELECT 1::int, a:b", []),
        ("SELECT @a, $b", ["a", "b"]),
    ],
)
def test_parameters_are_found_outside_of_quotes_and_comments(sql: str, names: list[str]) -> None:
    assert parameters(sql) == names


def test_values_are_bound_by_name_and_kind() -> None:
    names = {
        "text": "x'; DROP", "n": 1, "f": 1.5, "yes": True, "no": None, "l": ["a", 1], "p": Path("/tmp/x"),
        "t": datetime(2026, 1, 31, 12, 0, tzinfo=UTC), "bad": object(), "unused": object(),
    }  # fmt: skip
    bound = bind("SELECT :text, :n, :f, :yes, :no, :l, :p, :t", names)
    assert bound["l"] == '["a",1]'
    assert bound["t"] == "2026-01-31T12:00:00.000Z"
    assert (bound["text"], bound["no"], bound["p"]) == ("x'; DROP", None, "/tmp/x")
    with pytest.raises(AskError, match="no variable 'gone'"):
        bind("SELECT :gone", names)
    with pytest.raises(AskError, match="is a object"):
        bind("SELECT :bad", names)


def test_a_mistake_is_shown_where_it_is() -> None:
    assert pointed("SELECT id\nFORM v_jobs", 'near "v_jobs": syntax error') == (
        'near "v_jobs": syntax error\n  FORM v_jobs\n       ^^^^^^'
    )
    assert pointed("SELECT idd FROM v_jobs", "no such column: idd").endswith("\n         ^^^")
    assert pointed("SELECT 1", "something else") == "something else"


def test_views_and_columns_are_listed() -> None:
    assert tables().column("view") == list(VIEWS)
    assert tables("v_jobs").column("column") == list(VIEWS["v_jobs"].columns)
    with pytest.raises(AskError, match="there is no view 'tokens'"):
        tables("tokens")


def test_completion_knows_views_columns_and_aliases() -> None:
    def of(token: str, sql: str, variables: tuple[str, ...] = ()) -> set[str]:
        return {text for text, _ in suggestions(token, sql, variables)}

    assert of("v_ch", "SELECT * FROM v_ch") == {"v_checks"}
    assert of("j.work", "SELECT j.work FROM v_jobs AS j") == {"j.worker_id", "j.worked_s"}
    assert of("v_jobs.ti", "SELECT v_jobs.ti FROM v_jobs") == {"v_jobs.title"}
    assert "verdict" in of("ver", "SELECT ver FROM v_checks")
    assert of("verd", "SELECT verd FROM v_jobs") == set()
    assert of("SEL", "") == {"SELECT"}
    assert of("sel", "") == {"select"}
    assert "json_extract" in of("json_e", "")
    assert of(":mi", "", ("mine", "other")) == {":mine"}
    assert of("tok", "") == set()


def test_questions_are_kept_by_name(tmp_path: Path) -> None:
    saved = Saved({"XDG_CONFIG_HOME": str(tmp_path)})
    assert saved.names() == sorted(OURS)
    saved.save("mine", "SELECT 1")
    saved.save("failures", "SELECT 2")
    assert (saved.get("mine"), saved.get("failures"), saved.get("nothing")) == (
        "SELECT 1\n",
        "SELECT 2\n",
        None,
    )
    assert saved.get("../../etc/passwd") is None
    with pytest.raises(ValueError, match="is no name"):
        saved.save("../evil", "SELECT 1")
