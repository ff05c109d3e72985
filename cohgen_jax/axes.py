"""Types of arrays with their axes, as `Float[Array, "N D"]`: jaxtyping's where it is installed.

Only annotations use them; tests have them checked at every call.
"""

try:
    from jaxtyping import Array, Bool, Float, Integer, Key
except ImportError:
    Array = Bool = Float = Integer = Key = None  # pyright: ignore[reportAssignmentType]

__all__ = ["Array", "Bool", "Float", "Integer", "Key"]
