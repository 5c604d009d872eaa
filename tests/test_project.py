"""What contributors meet: workflows, forms, hooks and metadata hold together, and name only what there is."""

import re
import shlex
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
)
SHELL = {"grep", "python3"}
"""Programs that every machine of GitHub has."""


class _Loader(yaml.SafeLoader):
    """Reads `on` as a word, as GitHub does, and mkdocs.yml's one Python function as nothing."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def read_yaml(path):
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)


def tox_environments() -> set[str]:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    return {name.removeprefix("testenv:") for name in tox.sections() if name.startswith("testenv:")}


def steps_of(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def commands_of(workflow) -> list[str]:
    """Return every command of a workflow, those that a matrix brings in too."""
    lines = [step["run"] for step in steps_of(workflow) if "run" in step]
    for job in workflow["jobs"].values():
        lines += [case["command"] for case in job.get("strategy", {}).get("matrix", {}).get("include", [])]
    return [one.strip() for line in lines if "${{" not in line for one in line.split("&&")]


def test_there_are_workflows_and_forms():
    assert {path.stem for path in WORKFLOWS} == {"docs", "release", "tests"}
    assert {path.stem for path in FORMS} == {"bug", "feature", "method"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_what_there_is(path):
    workflow = read_yaml(path)
    assert {"name", "on", "permissions", "jobs"} <= workflow.keys()
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    for step in steps_of(workflow):
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[\w-]+/[\w-]+@[\w./-]+", step.get("uses", "a/b@v1")), step
    for command in commands_of(workflow):
        program, *arguments = shlex.split(command)
        if "/" in program and not program.startswith(".venv/"):
            assert (ROOT / program).is_file(), command
        elif not program.startswith(".venv/"):
            assert program in SHELL, command
        if program.endswith("/tox"):
            assert set(arguments[arguments.index("-e") + 1].split(",")) <= tox_environments(), command
    assert commands_of(workflow)


def test_every_supported_python_is_tested():
    cases = read_yaml(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["include"]
    named = [one.rpartition(" ")[2] for one in PYPROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert [case["python"] for case in cases] == named


def test_a_release_stores_no_secret_and_publishes_by_trust():
    path = ROOT / ".github" / "workflows" / "release.yml"
    assert "secrets." not in path.read_text(encoding="utf-8")
    assert read_yaml(path)["jobs"]["publish"]["permissions"] == {"id-token": "write"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_something(path):
    form = read_yaml(path)
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") == "true" for field in fields)


def test_versions_agree():
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == PYPROJECT["project"]["version"]
    assert citation["license"] == PYPROJECT["project"]["license"]
    assert citation["repository-code"] == PYPROJECT["project"]["urls"]["Repository"]
    hooks = {hook["repo"]: hook.get("rev") for hook in read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]}
    assert hooks["https://github.com/astral-sh/ruff-pre-commit"] == f"v{PINNED['ruff']}"


@pytest.mark.parametrize("group", PYPROJECT["dependency-groups"])
def test_the_tools_of_a_group_are_pinned(group):
    for requirement in PYPROJECT["dependency-groups"][group]:
        name = re.match(r"[\w.-]+", requirement)
        assert name
        assert name[0] in PINNED


def test_every_page_is_on_the_site_once():
    def pages(entry) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for one in (entry.values() if isinstance(entry, dict) else entry) for page in pages(one)]

    site = read_yaml(ROOT / "mkdocs.yml")
    docs = ROOT / "docs"
    written = [path.relative_to(docs).as_posix() for path in docs.rglob("*.md")]
    assert sorted(pages(site["nav"])) == sorted([*written, "index.md", "contributing.md", "changelog.md"])
    assert site["repo_url"] == PYPROJECT["project"]["urls"]["Repository"]
    assert site["site_url"] == PYPROJECT["project"]["urls"]["Documentation"]
