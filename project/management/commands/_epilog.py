"""Commands whose help ends with an example and the exit statuses, as written."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class WithExample(BaseCommand):
    """`example` stands below the options."""

    example = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Its lines stay lines."""
        formatter = argparse.RawDescriptionHelpFormatter
        return super().create_parser(
            prog_name, subcommand, epilog=self.example.strip(), formatter_class=formatter, **kwargs
        )
