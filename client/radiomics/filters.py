"""The images that features are computed on: the original, LoG at each sigma, wavelet bands."""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from client.images.volumes import from_itk
from shared.radiomics_settings import Radiomics


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
