"""The plug-in door: three ways in, guarded listing, errors that name what is wrong."""

import sys

import pytest

from admbench.errors import PluginError, UsageError
from admbench.registry import Registry

GROUP = "test.plugins"


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Return a function that puts a distribution `other` with entry points and one module on the path."""

    def install(entry_points: str, source: str) -> None:
        info = tmp_path / "other-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")
        (tmp_path / "other_plugin.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("other_plugin", None)


def test_a_decorated_class_is_found_by_its_name():
    registry = Registry(GROUP, "plugin")

    @registry.register("mine")
    class Mine:
        """Do it my way."""

        requires = ("numpy", "no-such-distribution")

    assert registry.get("mine") is Mine
    assert registry.names() == ["mine"]
    assert "mine" in registry
    info = registry.info("mine")
    assert info.summary == "Do it my way."
    assert info.unavailable == "needs no-such-distribution: pip install no-such-distribution"


def test_a_duplicate_name_is_an_error_that_names_both_owners():
    registry = Registry(GROUP, "plugin", {"json": "json.decoder:JSONDecoder"})
    with pytest.raises(PluginError, match=r"json.decoder:JSONDecoder of admbench and .*Impostor"):

        @registry.register("json")
        class Impostor:
            pass

    assert registry.get("json").__name__ == "JSONDecoder"


def test_the_built_in_may_register_itself_on_import():
    registry = Registry(GROUP, "plugin", {"decoder": "json.decoder:JSONDecoder"})
    decoder = registry.get("decoder")
    assert registry.register("decoder")(decoder) is decoder
    assert registry.names() == ["decoder"]


def test_an_unknown_name_is_an_error_with_the_nearest():
    registry = Registry(GROUP, "method", {"naive": "x:y", "fp32": "x:z"})
    with pytest.raises(UsageError, match=r'unknown method "naiv"\. Did you mean "naive"\? Available: naive, fp32'):
        registry.get("naiv")
    with pytest.raises(UsageError, match="unknown method"):
        registry.info("zzz")


def test_a_built_in_is_described_without_being_imported(tmp_path, monkeypatch):
    (tmp_path / "explosive.py").write_text(
        'raise SystemExit("imported")\n\n\nclass Plugin:\n    summary: str = "A summary."\n    requires = ("numpy",)\n'
        '\n\ndef load():\n    """Load it.\n\n    More.\n    """\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    builtin = {"class": "explosive:Plugin", "function": "explosive:load", "gone": "explosive:Gone", "no": "absent.x:y"}
    by_name = {info.name: info for info in Registry(GROUP, "plugin", builtin).infos()}
    assert by_name["class"].summary == "A summary."
    assert by_name["class"].requires == ("numpy",)
    assert by_name["class"].unavailable is None
    assert by_name["function"].summary == "Load it."
    assert "no class, function or object Gone" in str(by_name["gone"].unavailable)
    assert "no module absent.x" in str(by_name["no"].unavailable)


def test_another_distributions_plugin_is_listed_and_loaded(distribution):
    distribution("theirs = other_plugin:Theirs", 'print("noise")\nclass Theirs:\n    summary = "Theirs."\n')
    registry = Registry(GROUP, "plugin", {"first": "json.decoder:JSONDecoder"})
    assert registry.names() == ["first", "theirs"]
    info = registry.info("theirs")
    assert (info.distribution, info.summary, info.unavailable) == ("other", "Theirs.", None)
    assert "other_plugin" not in sys.modules
    assert registry.get("theirs").summary == "Theirs."


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "no_such_module"),
        ("import os\nos._exit(7)", "exit code 7"),
        ("class Other: pass", "Theirs"),
        ("import time\ntime.sleep(600)", "still loading after 2 s"),
    ],
    ids=["import error", "dies", "attribute missing", "hangs"],
)
def test_a_broken_plugin_is_listed_with_its_reason_and_breaks_no_other(distribution, monkeypatch, source, reason):
    monkeypatch.setattr("admbench.registry.PROBE_TIMEOUT", 2.0)
    distribution("theirs = other_plugin:Theirs", source)
    first, theirs = Registry(GROUP, "plugin", {"first": "json.decoder:JSONDecoder"}).infos()
    assert first.unavailable is None
    assert reason in str(theirs.unavailable)


def test_loading_a_broken_plugin_is_one_line(distribution):
    distribution("theirs = other_plugin:Theirs", 'raise RuntimeError("two\\nlines")')
    with pytest.raises(PluginError, match=r'plugin "theirs" .*cannot be loaded: RuntimeError: two lines$'):
        Registry(GROUP, "plugin").get("theirs")


def test_a_distribution_that_claims_a_built_in_name_is_reported(distribution):
    distribution("first = other_plugin:Theirs", "class Theirs: pass")
    registry = Registry(GROUP, "plugin", {"first": "json.decoder:JSONDecoder"})
    assert registry.names() == ["first"]
    with pytest.raises(PluginError, match=r"json.decoder:JSONDecoder of admbench and other_plugin:Theirs of other"):
        registry.get("first")
    assert "claimed by both" in str(registry.info("first").unavailable)
