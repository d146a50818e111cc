"""A folder with what radiomics takes: images on one grid, masks, and a list of them."""
