"""Codecs: one file each, one id each, behind one registry."""
