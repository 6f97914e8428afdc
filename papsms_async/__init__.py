"""Asyncio client and command line for the PapSMS SMS-verification API."""
