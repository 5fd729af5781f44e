import pytest

from pushpals.work.git.hunks import AddedText, added_sections

PATCH = b"""\
diff --git a/one b/one
index 111..222 100644
--- a/one
+++ b/one
@@ -2 +2,2 @@ def x():
-gone
+new
+++ not a header
@@ -9,0 +11 @@
+late
\\ No newline at end of file
diff --git a/mode b/mode
old mode 100644
new mode 100755
diff --git a/two b/two
new file mode 100644
--- /dev/null
+++ b/two
@@ -0,0 +1,2 @@
+diff --git a/fake b/fake
+@@ -1 +1 @@
"""


def test_added_lines_keep_their_numbers_and_content_that_looks_like_a_header_is_content() -> None:
    assert list(added_sections(PATCH)) == [
        AddedText(text=b"new\n++ not a header\nlate", lines=(2, 3, 11)),
        AddedText(text=b"", lines=()),
        AddedText(text=b"diff --git a/fake b/fake\n@@ -1 +1 @@", lines=(1, 2)),
    ]


@pytest.mark.parametrize("patch", [b"no diff at all\n", b"diff --git a/x b/x\n@@ -0,0 +1,3 @@\n+one\n"])
def test_what_is_not_a_whole_diff_is_an_error(patch: bytes) -> None:
    with pytest.raises(ValueError, match=r"section|inside a hunk"):
        list(added_sections(patch))


def test_a_line_of_the_whole_file_stays_so() -> None:
    assert AddedText(text=b"a", lines=(7,)).file_line(0) == 0
    assert AddedText(text=b"a", lines=(7,)).file_line(1) == 7
