"""Images as hospitals have them: DICOM, NIfTI and NRRD, checked, in one orientation."""
