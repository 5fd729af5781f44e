"""placeholder until the roles are here"""
