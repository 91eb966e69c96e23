"""Contexts: file, then environment; where each value came from; secrets only as references."""

import pytest

from lockstep.errors import DataError
from lockstep.settings import ENVIRONMENT, Context, load_context

TOML = b"""
current = "dev"

[contexts.dev]
tenant_id = "demo"
store = "file://store"
policy = "policy.yaml"
profile = "/etc/profile.yaml"
development = true
keys = {operator = "file:keys/operator.pem", starter = "env:KEY"}

[contexts.prod]
tenant_id = "acme"
store = "s3://bucket/prefix"
keys = {operator = "aws-kms:alias/lockstep"}
"""


def load(text: bytes = TOML, name: str | None = None, **environ: str) -> Context:
    return load_context(text, name, environ, folder="/srv/app")


def refused(text: bytes, name: str | None = None, **environ: str) -> DataError:
    with pytest.raises(DataError) as raised:
        load(text, name, **environ)
    assert raised.value.code == "CONTEXT_INVALID"
    return raised.value


def test_the_current_context_is_taken_unless_another_is_named() -> None:
    assert load().tenant_id == "demo"
    assert load(name="prod").tenant_id == "acme"


def test_relative_paths_are_relative_to_the_files_folder() -> None:
    context = load()
    assert context.store == "file:///srv/app/store"
    assert context.policy == "/srv/app/policy.yaml"
    assert context.profile == "/etc/profile.yaml"
    assert context.keys == {"operator": "file:/srv/app/keys/operator.pem", "starter": "env:KEY"}
    assert load(name="prod").store == "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("store", "file:///srv/app/store"),
        ("./a/../b", "file:///srv/app/b"),
        ("file:///abs", "file:///abs"),
        ("s3://b/p", "s3://b/p"),
    ],
)
def test_a_store_may_be_a_path_or_a_url(written: str, resolved: str) -> None:
    text = f'[contexts.a]\ntenant_id = "t"\nstore = "{written}"\n'.encode()
    assert load(text, "a").store == resolved


@pytest.mark.parametrize("variable", sorted(ENVIRONMENT))
def test_a_variable_overrides_the_file_and_is_named_as_the_source(variable: str) -> None:
    field = ENVIRONMENT[variable]
    context = load(**{variable: "elsewhere"})
    assert getattr(context, field) == "elsewhere"
    assert context.source[field] == variable


def test_each_value_says_where_it_came_from() -> None:
    source = load().source
    assert source["tenant_id"] == "lockstep.toml [contexts.dev]"
    assert source["namespace"] == "default"
    assert set(source) == set(Context.model_fields) - {"name", "source"}


def test_an_empty_variable_overrides_nothing() -> None:
    assert load(LOCKSTEP_TENANT="").tenant_id == "demo"


@pytest.mark.parametrize("reference", ["file:key", "env:KEY"])
def test_references_to_files_and_variables_need_a_development_context(reference: str) -> None:
    text = f'[contexts.a]\ntenant_id = "t"\nstore = "s3://b/p"\nkeys = {{operator = "{reference}"}}'
    assert "development" in refused(text.encode(), "a").cause


def test_a_key_itself_is_refused_everywhere() -> None:
    text = b'[contexts.a]\ntenant_id="t"\nstore="s3://b/p"\ndevelopment=true\nkeys={k="c2VjcmV0"}'
    assert "contexts.a.keys.k" in refused(text, "a").cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"current = ", "not TOML"),
        (b"\xff", "not TOML"),
        (b"", "contexts"),
        (b"[context.dev]\n", "did you mean 'contexts'"),
        (b"contexts = 3", "contexts"),
        (b"[contexts]\ndev = 3", "contexts.dev"),
        (b'current = "x"\n[contexts.dev]\ntenant_id = "t"\nstore = "s3://b"', "no context 'x'"),
        (b'[contexts.dev]\ntenant_id = "t"\nstore = "s3://b"', "current"),
        (b'current = "d"\n[contexts.d]\nstore = "s3://b"', "contexts.d.tenant_id: is required"),
        (b'current = "d"\n[contexts.d]\ntenant_id = "t"', "contexts.d.store: is required"),
        (b'current = "d"\n[contexts.d]\ntenant_id = "../t"\nstore = "s"', "tenant_id"),
        (b'current = "d"\n[contexts.d]\ntenant_id = "t"\nstore = 3', "contexts.d.store"),
        (b'current = "d"\n[contexts.d]\ntenant = "t"\nstore = "s"', "did you mean 'tenant_id'"),
        (b'current = "d"\n[contexts.d]\nname = "t"', "contexts.d.name"),
        (b'current = "d"\n[contexts.d]\nsource = {}', "contexts.d.source"),
        (b'current="d"\n[contexts.d]\ntenant_id="t"\nstore="s"\ntrust_root = "ab"', "trust_root"),
        (b"x" * 300_000, "more than"),
    ],
)  # fmt: skip
def test_broken_settings_are_refused_with_place_and_field(text: bytes, cause: str) -> None:
    error = refused(text)
    assert cause in error.cause
    assert error.place == "lockstep.toml"
