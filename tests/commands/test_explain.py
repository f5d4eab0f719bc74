"""`ordergraph explain` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from tests.test_commands import Run, refused

SHOP = "northwind"


def test_cost_sql_and_plan_are_printed(run: Run, shop_url: str, tmp_path: Path) -> None:
    text = "query ($sku: String!) { item(by: {sku: $sku}) { name } items(first: 3) { nodes { sku } } }"
    (tmp_path / "q.graphql").write_text(text)
    done = run("explain", "q.graphql", "--variables", '{"sku": "NW-1"}', DATABASE_URL=shop_url)
    assert done.returncode == 0, done
    first, *lines = done.stdout.splitlines()
    assert first == "-- cost 4 of 12,000"
    assert [line for line in lines if line.startswith("SELECT ")]
    assert lines[-1].startswith("--   ")
    assert "\x1b" not in done.stdout  # no colour where nobody looks


def test_what_would_not_run_is_told_in_a_line(run: Run, shop_url: str, tmp_path: Path) -> None:
    (tmp_path / "q.graphql").write_text("{ items { nodes { colour } } }")
    (tmp_path / "binary").write_bytes(b"\xff\xfe{")
    (tmp_path / "broken.graphql").write_text("{\n  items {\n  }\n  (\n}")
    (tmp_path / "page.graphql").write_text("{ items(first: 1000) { nodes { sku } } }")
    assert "line 1, column 19: Cannot query field 'colour'" in refused(run("explain", "q.graphql", DATABASE_URL=shop_url))
    assert "line 4, column 3: Syntax Error" in refused(run("explain", "broken.graphql", DATABASE_URL=shop_url))
    assert "must be from" in refused(run("explain", "page.graphql", DATABASE_URL=shop_url))
    assert "no text in UTF-8" in refused(run("explain", "binary", DATABASE_URL=shop_url))
    for variables, told in (("{", "no JSON"), ("[]", "must be a JSON object")):
        done = run("explain", "q.graphql", "--variables", variables, DATABASE_URL=shop_url)
        assert (done.returncode, told in done.stderr) == (2, True)
    assert run("explain", "absent.graphql", DATABASE_URL=shop_url).returncode == 2
