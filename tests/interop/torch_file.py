"""Write files in PyTorch's zip format without PyTorch, honest ones and others."""

import collections
import io
import pickle
import sys
import types
import zipfile
from unittest import mock

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


def _fake(module, name):
    """A class that pickles as <module>.<name>."""
    return type(name, (), {"__module__": module, "__qualname__": name})


def _rebuild(name):
    def function(*args):
        raise AssertionError("only its name is written")

    function.__module__, function.__qualname__ = "torch._utils", name
    return function


_TORCH = types.ModuleType("torch")
for _name in STORAGES.values():
    setattr(_TORCH, _name, _fake("torch", _name))
_UTILS = types.ModuleType("torch._utils")
for _name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
    setattr(_UTILS, _name, _rebuild(_name))


class Storage:
    def __init__(self, key, kind, numel, data):
        self.key, self.kind, self.numel, self.data = key, kind, numel, data


class Tensor:
    """A tensor; offset, size, stride in elements. None: those of a contiguous array."""

    def __init__(self, storage, offset=0, size=None, stride=None, parameter=False):
        self.storage, self.offset, self.parameter = storage, offset, parameter
        self.size = (storage.numel,) if size is None else size
        self.stride = (1,) * len(self.size) if stride is None else stride


def storage(array, key="0", kind=None, numel=None, byteorder="<"):
    array = np.asarray(array)
    data = array.astype(array.dtype.newbyteorder(byteorder)).tobytes()
    kind = STORAGES[kind or array.dtype.name]
    return Storage(key, kind, array.size if numel is None else numel, data)


def tensor(array, key="0", **options):
    """A contiguous tensor with a storage of its own."""
    array = np.asarray(array)
    strides = tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides)
    return Tensor(storage(array, key, **options), 0, array.shape, strides[: array.ndim])


class _Pickler(pickle.Pickler):
    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.storages = {}

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj.data
        return ("storage", getattr(_TORCH, obj.kind), obj.key, "cpu", obj.numel)

    def reducer_override(self, obj):
        if not isinstance(obj, Tensor):
            return NotImplemented
        hooks = collections.OrderedDict()
        args = (obj.storage, obj.offset, obj.size, obj.stride, False, hooks)
        if not obj.parameter:
            return (_UTILS._rebuild_tensor_v2, args)
        plain = Tensor(obj.storage, obj.offset, obj.size, obj.stride)
        return (_UTILS._rebuild_parameter, (plain, True, hooks))


def save(path, obj, byteorder="little", protocol=2):
    """Write obj, with Tensor in the place of tensors, as torch.save does."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol)
    with mock.patch.dict(sys.modules, {"torch": _TORCH, "torch._utils": _UTILS}):
        pickler.dump(obj)
    write(path, file.getvalue(), pickler.storages, byteorder)
    return path


def write(path, data_pkl, storages=None, byteorder="little", compression=zipfile.ZIP_STORED):
    """Write an archive of given pickle bytes and storages; returns path."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/byteorder", byteorder)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return path


def state_dict(arrays):
    """{name: array} as an OrderedDict of tensors with PyTorch's metadata hanging on it."""
    state = collections.OrderedDict(
        (name, tensor(array, key=str(i))) for i, (name, array) in enumerate(arrays.items())
    )
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state
