"""Foreign models: what somebody trained elsewhere becomes a released model that the engine runs.

description (m.toml) and model file → open → adapt → convert → verify → release
"""
