"""PyRadiomics' shape features: the same mesh and diameters, without comparing all pairs of points.

The mesh is that of marching cubes. A cube of eight voxels has one of 256 patterns; what each adds
to area and volume is asked of PyRadiomics' own code once, and then the patterns are counted.
"""

import itertools
import logging
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from client.images.volumes import Triple

CORNERS = tuple(itertools.product((0, 1), repeat=3))
N_PATTERNS = 256
N_DIRECTIONS = 8
NEARLY_0 = 1e-10
Points = NDArray[np.float64]


@cache
def class_on_mask(original: Any) -> Any:
    """The class `shape`, made of a mask as an array and its spacing (z, y, x)."""
    known = original.getFeatureNames()

    def take(self: Any, mask: NDArray[np.bool_], spacing_mm: Triple) -> None:
        self.pixelSpacing = np.array(spacing_mm)
        self.enabledFeatures, self.featureValues, self.voxelBased = {}, {}, False
        self.featureNames, self.logger = known, logging.getLogger(original.__module__)
        padded = np.pad(mask, 1)
        self.labelledVoxelCoordinates = np.nonzero(padded)
        self.SurfaceArea, self.Volume = area_and_volume(padded, spacing_mm)
        self.diameters = diameters(padded, spacing_mm)
        self.eigenValues = _variances(self.labelledVoxelCoordinates, self.pixelSpacing)

    members = {
        "__init__": take,
        "getFeatureNames": classmethod(lambda _: known),
        "__module__": original.__module__,
    }
    return type(original.__name__, (original,), members)


def _variances(at: tuple[NDArray[np.int64], ...], spacing_mm: Points) -> Points:
    """The variances along the principal axes, ascending, by PyRadiomics' own steps.

    Of a flat mask one is 0 but for the last digit, and its root is felt: each step matters.
    """
    places = np.array(at, dtype=np.int64).transpose() * spacing_mm
    places -= places.mean(axis=0)
    places /= np.sqrt(len(places))
    variances = np.asarray(np.linalg.eigvals(np.dot(places.T.copy(), places)).real)
    variances[(variances < 0) & (variances > -NEARLY_0)] = 0
    variances.sort()
    return variances


def area_and_volume(padded: NDArray[np.bool_], spacing_mm: Triple) -> tuple[float, float]:
    """Area and enclosed volume of the mesh around a mask, whose outermost voxels are not set.

    A triangle of corners a, b, c encloses (a x b) c / 6 with the origin; if its cube is moved by r,
    this grows by r times the triangle's area along r's axis, over 3.
    """
    n_z, n_y, n_x = (n - 1 for n in padded.shape)
    patterns = np.zeros((n_z, n_y, n_x), dtype=np.uint8)
    for bit, (z, y, x) in enumerate(CORNERS):
        patterns |= padded[z : z + n_z, y : y + n_y, x : x + n_x].view(np.uint8) << bit
    counts = np.bincount(patterns.ravel(), minlength=N_PATTERNS)
    at_origin, moved = _volumes_of_patterns()
    cubes = np.flatnonzero((patterns != 0) & (patterns != N_PATTERNS - 1))
    here, places = patterns.ravel()[cubes], np.unravel_index(cubes, patterns.shape)
    volume = counts @ at_origin + sum((m[here] @ i for m, i in zip(moved, places, strict=True)))
    return float(counts @ _areas_of_patterns(spacing_mm)), float(volume * np.prod(spacing_mm))


def _cube(pattern: int) -> NDArray[np.bool_]:
    """The eight voxels of a pattern."""
    bits = [pattern >> bit & 1 for bit in range(len(CORNERS))]
    return np.array(bits, dtype=np.bool_).reshape(2, 2, 2)


@cache
def _areas_of_patterns(spacing_mm: Triple) -> Points:
    """The area of each pattern's triangles, (256,)."""
    from radiomics import cShape

    spacing = np.array(spacing_mm)
    cubes = [_cube(pattern) for pattern in range(N_PATTERNS)]
    return np.array([cShape.calculate_coefficients(cube, spacing)[0] for cube in cubes])


@cache
def _volumes_of_patterns() -> tuple[Points, Points]:
    """What each pattern encloses at the origin, and more for a step along z, y or x.

    In voxels, (256,) and (3, 256). A cube that is one step away has an empty layer before it,
    whose own cube counts too.
    """
    from radiomics import cShape

    def volume(mask: NDArray[np.bool_]) -> float:
        return float(cShape.calculate_coefficients(np.ascontiguousarray(mask), np.ones(3))[1])

    cubes = [_cube(pattern) for pattern in range(N_PATTERNS)]
    at_origin = np.array([volume(cube) for cube in cubes])
    moved = np.empty((3, N_PATTERNS))
    for axis, (pattern, cube) in itertools.product(range(3), enumerate(cubes)):
        after = np.insert(cube, 0, values=False, axis=axis)
        between = after.take((0, 1), axis=axis)
        moved[axis, pattern] = volume(after) - volume(between) - at_origin[pattern]
    return at_origin, moved


def diameters(padded: NDArray[np.bool_], spacing_mm: Triple) -> tuple[float, float, float, float]:
    """The largest distances of two points of the mesh: at one z, at one y, at one x, and of any.

    The ends of the last are corners of the convex hull.
    """
    points = _points(padded, spacing_mm)
    largest = float(pdist(points[ConvexHull(points).vertices]).max())
    z, y, x = (_largest_in_a_plane(points, axis) for axis in range(3))
    return z, y, x, largest


def _points(padded: NDArray[np.bool_], spacing_mm: Triple) -> Points:
    """The points of the mesh, (n, 3) in mm: between each voxel of the mask and one outside."""
    found = []
    for axis in range(3):
        between = np.argwhere(np.diff(padded, axis=axis)).astype(np.float64)
        between[:, axis] += 0.5
        found.append(between)
    points: Points = np.concatenate(found) * np.array(spacing_mm)
    return points


def _largest_in_a_plane(points: Points, axis: int) -> float:
    """The largest distance of two points with the same coordinate.

    A plane's points are no further apart than their largest extent in any of 8 directions, over
    the cosine of half the angle between two directions; planes that cannot win are passed over.
    """
    points = points[np.argsort(points[:, axis], kind="stable")]
    flat = np.delete(points, axis, axis=1)
    starts = np.flatnonzero(np.diff(points[:, axis], prepend=-1.0))
    angles = np.arange(N_DIRECTIONS) * np.pi / N_DIRECTIONS
    along = flat @ np.stack([np.cos(angles), np.sin(angles)])
    extents = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
    limits = extents.max(axis=1) / np.cos(np.pi / (2 * N_DIRECTIONS))
    planes = np.split(flat, starts[1:])
    largest = 0.0
    for plane in np.argsort(-limits):
        if limits[plane] <= largest:
            break
        largest = max(largest, float(pdist(planes[plane]).max(initial=0.0)))
    return largest
