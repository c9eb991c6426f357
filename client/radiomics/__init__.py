"""From a ROI to its radiomics features: filters, discretisation and the engine."""
