"""Devices that speak ASCOM Alpaca: alpyca's device classes on a transport of our own."""
