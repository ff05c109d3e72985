"""Read a PyTorch checkpoint (.pth) without PyTorch, and without running anything in it.

A checkpoint is a zip archive: <root>/data.pkl is a pickle of plain containers in which tensors
stand as calls of torch._utils._rebuild_tensor_v2 on numbered storages, <root>/data/<number> are
the storages' bytes. A pickle may name any callable of the machine; this reader resolves the few
names in `_GLOBALS` to inert stand-ins of its own and refuses every other name. Tensors are built
only after the pickle has ended, from sizes and strides checked against the bytes that are there.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from cohgen_jax.errors import InputError

# bfloat16 is the upper half of a float32: read as bits here, widened in `_storage_values`.
_BFLOAT16 = "bfloat16"
_STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_MAX_DIMS = 32


def load_torch_checkpoint(path: str | Path) -> dict:
    """The object saved in a .pth file: nested dicts, lists, numbers, strings, numpy arrays.

    Tensors become arrays of their own type (bfloat16 becomes float32), state_dicts plain dicts.
    Raises FileNotFoundError, or InputError for a file that is truncated, of another format, or
    that names anything beyond tensors and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} is not a PyTorch checkpoint in the zip format: it is truncated, of PyTorch's"
            " format before version 1.6 (save it again with a newer one), or something else"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            loaded = _read(archive, path)
    except InputError:
        raise
    # A damaged or hostile file can make zipfile and pickle raise nearly anything.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as a PyTorch checkpoint ({type(error).__name__}: {error});"
            " copy or save it again"
        ) from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds a {type(loaded).__name__}, not a dictionary")
    return loaded


def _read(archive: zipfile.ZipFile, path: Path) -> Any:
    pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
    roots = [name.removesuffix("data.pkl") for name in pickles if name.count("/") <= 1]
    if len(roots) != 1:
        raise InputError(f"{path} is a zip archive but no PyTorch checkpoint: no single data.pkl")
    members = _Members(archive, roots[0], path)
    unpickler = _Unpickler(io.BytesIO(members.read("data.pkl")), path)
    return _finish(unpickler.load(), members)


class _Members:
    """The archive's files below its root, read once each and never larger than the archive."""

    def __init__(self, archive: zipfile.ZipFile, root: str, path: Path):
        self.archive, self.root, self.path = archive, root, path
        self.storages: dict[_Storage, np.ndarray] = {}
        names = set(archive.namelist())
        order = self.read("byteorder") if root + "byteorder" in names else b"little"
        if order not in (b"little", b"big"):
            raise InputError(f"{path}: unknown byte order {order[:20]!r}")
        self.order: Literal["<", ">"] = "<" if order == b"little" else ">"

    def read(self, name: str) -> bytes:
        try:
            info = self.archive.getinfo(self.root + name)
        except KeyError:
            raise InputError(f"{self.path} lacks {name}: it is incomplete") from None
        if info.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{self.path}: {name} is compressed, which PyTorch never does")
        return self.archive.read(info)

    def values(self, storage: "_Storage") -> np.ndarray:
        """All elements of a storage, [numel], in the machine's byte order."""
        if storage not in self.storages:
            code = "u2" if storage.dtype == _BFLOAT16 else storage.dtype
            dtype = np.dtype(code).newbyteorder(self.order)
            data = self.read(f"data/{storage.key}")
            if len(data) != storage.numel * dtype.itemsize:
                raise InputError(
                    f"{self.path}: storage {storage.key} has {len(data)} bytes, not those of"
                    f" {storage.numel} numbers of {dtype.itemsize} bytes"
                )
            values = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
            if storage.dtype == _BFLOAT16:
                values = (values.astype(np.uint32) << 16).view(np.float32)
            self.storages[storage] = values
        return self.storages[storage]


class _Storage(NamedTuple):
    key: str
    dtype: str
    numel: int


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it, not yet checked."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


class _StateDict(dict):
    """Stands in for OrderedDict; what PyTorch hangs on it (_metadata) is dropped."""

    def __setstate__(self, state: object) -> None:
        pass


class _Global:
    """What an admitted name becomes: callable at most, and nothing can be set on it."""

    __slots__ = ("call", "dtype")

    def __init__(self, call: Callable | None = None, dtype: str = ""):
        self.call, self.dtype = call, dtype

    def __call__(self, *args: object) -> object:
        if self.call is None:
            raise TypeError("a storage type is called as a function")
        return self.call(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise TypeError("a state is set on an imported name")


def _rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_: object):
    return _Tensor(storage, offset, size, stride)


def _rebuild_parameter(data: object, *_: object):
    return data


_GLOBALS: Mapping[str, Callable | None] = {
    "collections.OrderedDict": _StateDict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, path: Path):
        super().__init__(file, encoding="utf-8")
        self.path = path

    def find_class(self, module_name: str, global_name: str) -> _Global:
        name = f"{module_name}.{global_name}"
        if name in _GLOBALS:
            return _Global(call=_GLOBALS[name])
        if module_name == "torch" and global_name in _STORAGES:
            return _Global(dtype=_STORAGES[global_name])
        raise InputError(
            f"{self.path} names {name!r}, which is neither a tensor nor a plain container:"
            " refused, nothing of it was run. Save state_dicts and plain values only."
        )

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", _Global(dtype=str(dtype)), str(key), _, int(numel)) if (
                dtype and key.isdecimal() and numel >= 0
            ):
                return _Storage(key, dtype, numel)
        raise InputError(f"{self.path} refers to something other than a storage of numbers")


def _finish(value: object, members: _Members) -> Any:
    """Replace descriptions of tensors by arrays, containers by plain ones, and refuse the rest."""
    match value:
        case _Tensor():
            return _array(value, members)
        case _Storage() | _Global():
            raise InputError(f"{members.path} holds a bare storage or type, not a tensor")
        case dict():
            return {_key(k, members): _finish(v, members) for k, v in value.items()}
        case list():
            return [_finish(v, members) for v in value]
        case tuple():
            return tuple(_finish(v, members) for v in value)
        case None | bool() | int() | float() | str() | bytes():
            return value
    raise InputError(
        f"{members.path} holds a {type(value).__name__}; only tensors and plain values"
    )


def _key(key: object, members: _Members) -> str | int:
    if isinstance(key, str | int):
        return key
    raise InputError(f"{members.path} has a dictionary key that is neither text nor a number")


def _array(tensor: _Tensor, members: _Members) -> np.ndarray:
    storage, offset, size, stride = tensor
    if not (
        isinstance(storage, _Storage)
        and _count(offset)
        and isinstance(size, tuple)
        and isinstance(stride, tuple)
        and all(map(_count, (*size, *stride)))
        and len(size) == len(stride) <= _MAX_DIMS
    ):
        raise InputError(f"{members.path} holds a malformed tensor")
    values = members.values(storage)
    numel = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # More elements than the storage has would be views of the same memory: none is ever saved
    # in a state_dict, and a few bytes could pretend to be terabytes.
    if numel and (last >= len(values) or numel > len(values)):
        raise InputError(
            f"{members.path}: a tensor of size {size} does not fit its storage {storage.key}"
            f" of {len(values)} numbers"
        )
    if not numel:
        return np.zeros(size, values.dtype)
    strides = tuple(step * values.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(values[offset:], size, strides, writeable=False).copy()


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
