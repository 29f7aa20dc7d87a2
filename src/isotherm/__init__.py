"""Isotherm: a self-hosted cloud that keeps code and data at the right temperature."""
