"""Decoded levels kept between epochs, in one file that all loader processes of a machine share."""
