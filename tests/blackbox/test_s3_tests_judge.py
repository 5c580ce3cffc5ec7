"""How a run of ceph/s3-tests is judged by the table of what fails; the table itself can be read."""
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "s3-tests"
sys.path.insert(0, str(FOLDER))
import judge  # noqa: E402

REASON = "a reason that says in enough words why a test of the suite fails here"
TABLE = f'[[row]]\nclass = "R"\nreason = "{REASON}"\ntests = ["test_s3.py::test_a", "test_s3.py::test_b[x-y]"]\n'


def cases(**outcomes):
    return {f"test_s3.py::test_{name}": judge.Case(outcome, f"it {outcome}\nmore") for name, outcome in outcomes.items()}


@pytest.mark.parametrize("outcomes, whole, expected", [
    ({"a": "failed"}, False, []),
    ({"a": "failed"}, True, ["test_b[x-y] stands in the table and was not run"]),
    ({"a": "passed"}, False, ["test_a passed: its row has to go"]),
    ({"a": "skipped"}, False, ["test_a skipped: its row has to go"]),
    ({"a": "failed", "c": "failed"}, False, ["test_c fails and no row says why: it failed"]),
    ({"c": "passed", "d": "skipped"}, False, []),
])
def test_what_the_table_does_not_say_is_a_problem(outcomes, whole, expected):
    found = judge.problems(cases(**outcomes), judge.load_table(TABLE), whole)
    assert [line.replace("test_s3.py::", "") for line in found] == expected


@pytest.mark.parametrize("old, new", [('"R"', '"X"'), (REASON, "short"), ("tests = [", "test = ["), ("_b[x-y]", "_a"),
                                      ('["test_s3.py::test_a", "test_s3.py::test_b[x-y]"]', "[]")])
def test_a_row_that_says_nothing_is_refused(old, new):
    judge.load_table(TABLE)
    with pytest.raises(ValueError):
        judge.load_table(TABLE.replace(old, new))


def test_the_page_counts_and_names_every_failure():
    found = {**cases(a="failed", c="passed", d="skipped"), "test_s3.py::test_b[x-y]": judge.Case("failed", "", True)}
    page = judge.page(found, judge.load_table(TABLE))
    assert "| test_s3.py | 4 | 1 | 2 | 1 | 0 | 1 |" in page and "passes 1 at most" in page
    assert REASON in page and "`test_s3.py::test_b[x-y]`" in page and "- 1: it skipped" in page


def test_the_table_can_be_read_and_its_page_is_there():
    rows = judge.load_table((FOLDER / "expected.toml").read_text())
    page = (FOLDER.parents[1] / "docs" / "s3-tests.md").read_text()
    for row in rows:
        assert row.reason in page, "run `cargo xtask s3-tests DIR`, which writes docs/s3-tests.md"
