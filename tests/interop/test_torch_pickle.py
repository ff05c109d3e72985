"""The reader returns what was saved, refuses the rest by name, and runs nothing."""

import collections
import pickle
import zipfile

import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.interop import load_torch_checkpoint
from tests.interop import torch_file


def read(path):
    return load_torch_checkpoint(path)


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("dtype", [d for d in torch_file.STORAGES if d != "bfloat16"])
def test_every_type_round_trips(tmp_path, dtype, byteorder):
    array = np.random.default_rng(0).integers(0, 100, (3, 4)).astype(dtype)
    order = {"little": "<", "big": ">"}[byteorder]
    saved = {"x": torch_file.tensor(array, byteorder=order)}
    loaded = read(torch_file.save(tmp_path / "a.pth", saved, byteorder))["x"]
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_bfloat16_widens_to_float32(tmp_path, byteorder):
    values = np.array([1.0, -2.5, 0.15625, 3e38, np.inf], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    order = {"little": "<", "big": ">"}[byteorder]
    saved = {"x": torch_file.tensor(bits, kind="bfloat16", byteorder=order)}
    loaded = read(torch_file.save(tmp_path / "a.pth", saved, byteorder))["x"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded.view(np.uint32) >> 16, bits)
    np.testing.assert_allclose(loaded, values, rtol=2**-7)


def test_views_share_a_storage(tmp_path):
    base = np.arange(24, dtype=np.float32)
    shared = torch_file.storage(base)
    views = {
        "transposed": torch_file.Tensor(shared, 0, (4, 6), (1, 4)),
        "tail": torch_file.Tensor(shared, 20, (4,)),
        "every_third": torch_file.Tensor(shared, 1, (8,), (3,)),
        "scalar": torch_file.Tensor(shared, 7, ()),
        "empty": torch_file.Tensor(shared, 0, (0, 5), (5, 1)),
        "parameter": torch_file.Tensor(shared, 0, (2, 12), (12, 1), parameter=True),
    }
    loaded = read(torch_file.save(tmp_path / "a.pth", views))
    np.testing.assert_array_equal(loaded["transposed"], base.reshape(6, 4).T)
    np.testing.assert_array_equal(loaded["tail"], base[20:])
    np.testing.assert_array_equal(loaded["every_third"], base[1::3])
    assert loaded["scalar"].shape == ()
    assert loaded["scalar"] == 7
    assert loaded["empty"].shape == (0, 5)
    np.testing.assert_array_equal(loaded["parameter"], base.reshape(2, 12))


@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_values_and_state_dicts(tmp_path, protocol):
    state = torch_file.state_dict({"a.weight": np.eye(2, dtype=np.float32)})
    config = {"name": "m", "sizes": [1, 2], "pair": (3.5, None), "on": True, 7: "seven"}
    saved = {"state": state, "config": config, "best_loss": 0.25}
    loaded = read(torch_file.save(tmp_path / "a.pth", saved, protocol=protocol))
    assert loaded["config"] == config
    assert loaded["best_loss"] == 0.25
    assert type(loaded["state"]) is dict
    np.testing.assert_array_equal(loaded["state"]["a.weight"], np.eye(2))


# --- hostile files: each would create a file named "ran" if anything of it were run -------------

TOUCH = b"open('ran', 'w').close()"


def call(module, name, argument, protocol=2):
    """Pickle of module.name(argument) as a dictionary's value."""
    header = b"\x80" + bytes([protocol]) + b"}X\x01\x00\x00\x00k"
    text = b"X" + len(argument).to_bytes(4, "little") + argument
    return header + b"c" + module + b"\n" + name + b"\n" + text + b"\x85Rs."


class Reduces:
    def __reduce__(self):
        return (exec, (TOUCH.decode(),))


HOSTILE = {
    "os.system": call(b"os", b"system", b"touch ran"),
    "posix.system": call(b"posix", b"system", b"touch ran"),
    "subprocess.call": call(b"subprocess", b"call", b"touch ran"),
    "builtins.eval": call(b"builtins", b"eval", TOUCH),
    "builtins.exec": call(b"builtins", b"exec", TOUCH),
    "__builtin__.exec": call(b"__builtin__", b"exec", TOUCH),
    "builtins.getattr": call(b"builtins", b"getattr", b"x"),
    "numpy.load": call(b"numpy", b"load", b"x"),
    "torch.load": call(b"torch", b"load", b"x"),
    "torch.serialization.load": call(b"torch.serialization", b"load", b"x"),
    "torch.storage._load_from_bytes": call(b"torch.storage", b"_load_from_bytes", b"x"),
    "collections.namedtuple": call(b"collections", b"namedtuple", b"x"),
    "torch._utils.os.system": (
        b"\x80\x04}X\x01\x00\x00\x00kX\x0c\x00\x00\x00torch._utilsX\x09\x00\x00\x00os.system"
        b"\x93X\x09\x00\x00\x00touch ran\x85Rs."
    ),
    "os.popen": b"\x80\x04}\x8c\x01k\x8c\x02os\x8c\x05popen\x93\x8c\x09touch ran\x85Rs.",
    "cohgen_jax.interop.torch_pickle.io.open": call(
        b"cohgen_jax.interop.torch_pickle", b"io.open", b"ran"
    ),
}


@pytest.fixture
def quiet_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_malicious_file_runs_nothing_and_is_named(quiet_folder, name):
    path = torch_file.write(quiet_folder / "evil.pth", HOSTILE[name])
    with pytest.raises(InputError) as error:
        read(path)
    assert name in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("protocol", range(6))
def test_objects_that_run_code_when_unpickled(quiet_folder, protocol):
    nested = collections.OrderedDict(a=[1, {"b": (Reduces(),)}])
    data = pickle.dumps({"best_model_mse": nested}, protocol)
    with pytest.raises(InputError, match=r"(exec|OrderedDict|copyreg)"):
        read(torch_file.write(quiet_folder / "evil.pth", data))


ORDERED = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOAT = b"ctorch\nFloatStorage\n"
STATE = b"}X\x04\x00\x00\x00callcos\nsystem\ns"
DEFAULTS = b"N}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86"


@pytest.mark.parametrize(
    "body",
    [
        b"(X\x09\x00\x00\x00touch ranios\nsystem\n",  # INST
        b"(cos\nsystem\nX\x09\x00\x00\x00touch rano",  # OBJ
        b"cos\nsystem\nX\x09\x00\x00\x00touch ran\x85\x81",  # NEWOBJ
        ORDERED + b")\x81",  # a class's __new__ is not admitted either
        ORDERED + b")R" + STATE + b"b",  # BUILD on an OrderedDict, with a foreign name
        ORDERED + STATE.replace(b"cos\nsystem\n", b"K\x01") + b"b",  # BUILD on the name itself
        REBUILD + DEFAULTS + b"b",  # BUILD that would set a function's defaults
        b"}" + DEFAULTS + b"b",  # BUILD on a dictionary
        b"K\x01}b",
        FLOAT + b"K\x03\x85R",  # a storage type as a function
        FLOAT,  # a storage type as a value
        REBUILD + b"K\x01\x85R",  # too few arguments
        REBUILD + b"(K\x01K\x02K\x03K\x04tR",  # arguments of other types
        b"X\x07\x00\x00\x00storageQ",  # persistent ids that are no storages
        b"(X\x06\x00\x00\x00moduleX\x01\x00\x00\x000tQ",
        b"(X\x07\x00\x00\x00storage" + ORDERED + b"X\x01\x00\x00\x000NK\x01tQ",
        b"(X\x07\x00\x00\x00storage" + FLOAT + b"X\x09\x00\x00\x00../../etcNK\x01tQ",
        b"\x82\x01",  # EXT1
        b"\x97",  # NEXT_BUFFER
        b"P1\n",
        b"}q\x00X\x01\x00\x00\x00sh\x00s",  # a dictionary that holds itself
        b"\x8f",  # a set
        b"R",
    ],
)
def test_other_ways_to_make_objects_are_refused(quiet_folder, body):
    data = b"\x80\x04}X\x01\x00\x00\x00k" + body + b"s."
    with pytest.raises(InputError, match=r"evil\.pth"):
        read(torch_file.write(quiet_folder / "evil.pth", data))


def test_state_set_on_a_dictionary_changes_nothing(tmp_path):
    """PyTorch hangs _metadata on its OrderedDicts; the same way could replace their methods."""
    body = ORDERED + b")R}X\x05\x00\x00\x00itemsK\x01sb"
    path = torch_file.write(tmp_path / "a.pth", b"\x80\x02}X\x01\x00\x00\x00k" + body + b"s.")
    assert read(path) == {"k": {}}


def test_a_checkpoint_must_be_a_dictionary(tmp_path):
    with pytest.raises(InputError, match="holds a list, not a dictionary"):
        read(torch_file.save(tmp_path / "a.pth", [1]))


# --- damaged files ------------------------------------------------------------------------------

SIX = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize(
    "bad",
    [
        torch_file.Tensor(torch_file.storage(SIX), 0, (7,)),
        torch_file.Tensor(torch_file.storage(SIX), 1, (6,)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (2, 3), (4, 1)),
        torch_file.Tensor(torch_file.storage(SIX), -1, (2,)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (2,), (-1,)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (-1,)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (2, 3), (1,)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (2**40, 2**40), (0, 0)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (2**70,), (2**70,)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (0, 2**70), (1, 1)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (True,)),
        torch_file.Tensor(torch_file.storage(SIX), 0, (1.0,)),
        torch_file.Tensor(torch_file.storage(SIX, numel=5), 0, (5,)),
        torch_file.Tensor(torch_file.storage(SIX, numel=2**60), 0, (6,)),
        torch_file.Tensor(torch_file.storage(SIX, kind="float64"), 0, (6,)),
    ],
)
def test_tensors_that_do_not_fit_their_storage(tmp_path, bad):
    with pytest.raises(InputError, match=r"a\.pth"):
        read(torch_file.save(tmp_path / "a.pth", {"x": bad}))


def test_a_missing_storage_is_named(tmp_path):
    path = torch_file.save(tmp_path / "a.pth", {"x": torch_file.tensor(SIX, key="3")})
    with zipfile.ZipFile(path) as archive:
        data = archive.read("archive/data.pkl")
    with pytest.raises(InputError, match="lacks data/3"):
        read(torch_file.write(tmp_path / "b.pth", data))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_file(tmp_path, kept):
    path = torch_file.save(tmp_path / "a.pth", {"x": torch_file.tensor(SIX)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match="truncated"):
        read(path)


def test_flipped_bit_is_noticed(tmp_path):
    path = torch_file.save(tmp_path / "a.pth", {"x": torch_file.tensor(SIX)})
    data = bytearray(path.read_bytes())
    data[data.index(SIX.tobytes()) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="CRC"):
        read(path)


def test_foreign_files(tmp_path):
    def refuse(name, said):
        with pytest.raises(InputError, match=said) as error:
            read(tmp_path / name)
        assert name in str(error.value)

    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    refuse("table.csv", "not a PyTorch checkpoint")
    (tmp_path / "legacy.pth").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2))
    refuse("legacy.pth", "before version 1.6")
    np.savez(tmp_path / "arrays.npz", a=SIX)
    refuse("arrays.npz", "no PyTorch checkpoint")
    torch_file.write(tmp_path / "packed.pth", b"\x80\x02}.", compression=zipfile.ZIP_DEFLATED)
    refuse("packed.pth", "compressed")
    torch_file.write(tmp_path / "order.pth", b"\x80\x02}.", byteorder="middle")
    refuse("order.pth", "byte order")
    torch_file.write(tmp_path / "short.pth", b"\x80\x02}")
    refuse("short.pth", "cannot be read")
    torch_file.write(tmp_path / "text.pth", b"not a pickle")
    refuse("text.pth", "cannot be read")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*a\.pth"):
        read(tmp_path / "a.pth")
