"""The configuration is strict, and says what it did not understand."""

import json
import re
from pathlib import Path

import pytest

from earl.config import Config, config_from_dict, load_config
from earl.params import Params
from toolchain.errors import UsageError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_preset_is_valid(path):
    from earl.methods import check_methods

    check_methods(load_config(path))


def test_the_page_of_settings_has_every_key_and_its_default():
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", (CONFIGS[0].parents[1] / "docs/config.md").read_text(), re.M)
    assert {key: json.loads(default) for key, default in rows} == _flat(Config().model_dump(mode="json"))
    assert len({key for key, _ in rows}) == len(rows)


def _flat(table, prefix=""):
    flat = {}
    for key, value in table.items():
        is_section = isinstance(value, dict) and key != "params"
        flat |= _flat(value, f"{prefix}{key}.") if is_section else {prefix + key: value}
    return flat


def test_earl_presets_differ_in_a_few_lines():
    earl, fast = load_config(CONFIGS[0].parent / "earl.toml"), load_config(CONFIGS[0].parent / "earl-fast.toml")
    assert earl.kl.beta == 1e-3
    assert fast.model_copy(update={"kl": earl.kl}) == earl


def test_presets_state_their_method_in_a_few_lines():
    for path in CONFIGS:
        settings = [line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#")]
        assert path.stem == "demo" or len(settings) <= 7, path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"learning_rat": 1}}, "unknown key train.learning_rat; did you mean learning_rate?"),
        ({"trian": {}}, r"unknown section \[trian\]; did you mean train?"),
        ({"train": {"group_size": 1}}, "train.group_size"),
        ({"train": {"num_steps": "many"}}, "got 'many'"),
        ({"loss": {"dual_clip": 0.5}}, "dual_clip"),
        ({"reward": {"partial": 0.9}}, "too near a pass"),
        ({"train": {"num_problems": 8, "num_minibatches": 3}}, "must divide"),
        ({"gate": 3}, "gate is a section"),
        ({"sampling": {"temperature": 0}}, "sampling.temperature"),
    ],
)
def test_a_wrong_value_is_named(values, message):
    with pytest.raises(UsageError, match=message):
        config_from_dict(values, origin="test")


def test_overrides_are_toml_values_and_bare_words_are_strings(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[train]\nnum_steps = 3\n")
    config = load_config(path, ("train.num_steps=5", "model.path=/some/folder", "gate.params.fraction=0.5"))
    assert (config.train.num_steps, config.model.path, config.gate.params) == (5, "/some/folder", {"fraction": 0.5})


def test_a_file_extends_another_table_by_table(tmp_path):
    (tmp_path / "base.toml").write_text("[train]\nnum_steps = 3\nlearning_rate = 0.5\n")
    (tmp_path / "child.toml").write_text('extends = "base.toml"\n[train]\nnum_steps = 9\n')
    config = load_config(tmp_path / "child.toml")
    assert (config.train.num_steps, config.train.learning_rate) == (9, 0.5)


@pytest.mark.parametrize("override", ["train", "num_steps=3", "train.num_steps"])
def test_a_malformed_override_says_its_form(tmp_path, override):
    (tmp_path / "c.toml").write_text("")
    with pytest.raises(UsageError, match=r"section\.key=value"):
        load_config(tmp_path / "c.toml", (override,))


def test_a_missing_or_broken_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read the config"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[train\n")
    with pytest.raises(UsageError, match="no valid TOML"):
        load_config(tmp_path / "bad.toml")


def test_there_are_few_common_fields():
    # Sections that are a file's own parameters, as [lora] is, are no common ones.
    sections = [field.annotation for field in Config.model_fields.values() if not issubclass(field.annotation, Params)]
    assert sum(len(section.model_fields) for section in sections) <= 86
