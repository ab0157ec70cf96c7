"""The whole configuration: what of it may be shared."""

import json

from onlineflows.cli.config import load_config, public_config


def test_the_public_configuration_names_no_folder(tmp_path):
    path = tmp_path / "secret.toml"
    path.write_text(
        '[source]\ntype = "lhco_features"\npaths = ["/home/ann/secret/a.h5"]\n'
        '[evaluation]\ntype = "lhco_features"\npaths = ["/home/ann/secret/b.h5"]\n'
        '[run]\ndirectory = "/home/ann/secret/runs"\n'
    )
    document = public_config(load_config(path))
    assert document["source"]["paths"] == ["a.h5"]
    assert document["evaluation"]["paths"] == ["b.h5"]
    assert "/home" not in json.dumps(document)


def test_a_configuration_without_files_is_public_as_it_is():
    assert public_config(load_config(None))["source"]["type"] == "standin"
