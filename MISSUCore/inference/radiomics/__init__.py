"""Folder for radiomics software: images and masks on one grid, and a table that lists them."""
