"""The images that features are computed on: the original, LoG at each sigma, wavelet bands."""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from client.volumes import from_itk
from shared.config import Radiomics

WAVELETS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")


def filter_names(settings: Radiomics) -> tuple[str, ...]:
    """The names of the images: `original`, `log_2mm`, `wavelet_LLH` ..."""
    names = ["original"] if settings.original else []
    names += [f"log_{sigma:g}mm" for sigma in settings.log_sigma_mm]
    names += [f"wavelet_{band}" for band in WAVELETS] if settings.wavelet else []
    return tuple(names)


def log_images(image: Any, settings: Radiomics) -> Iterator[tuple[str, NDArray[Any]]]:
    """The image under each Laplacian of a Gaussian, by PyRadiomics' filter.

    An image too small for a filter is passed over, as PyRadiomics does.
    """
    from radiomics import imageoperations

    for sigma in settings.log_sigma_mm:
        for filtered, _, _ in imageoperations.getLoGImage(image, None, sigma=[sigma]):
            yield f"log_{sigma:g}mm", from_itk(filtered)


def wavelet_images(image: Any, settings: Radiomics) -> Iterator[tuple[str, NDArray[Any]]]:
    """The eight bands of the image's undecimated wavelet transform, by PyRadiomics' filter."""
    from radiomics import imageoperations

    if settings.wavelet:
        bands = imageoperations.getWaveletImage(image, None, wavelet=settings.wavelet)
        for filtered, name, _ in bands:
            yield name.replace("-", "_"), from_itk(filtered)
