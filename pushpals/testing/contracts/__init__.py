"""Suites that every implementation of a port must pass: subclass one and say what to test."""
