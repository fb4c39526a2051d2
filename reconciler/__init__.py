"""Terraform for outgoing webhooks, with the delivery engine built in."""

from typing import Final

VERSION: Final = "0.1.0"
