"""A simulated observatory with a known truth that speaks real Alpaca: rehearsals take the road of the hardware.

::

    params = from_mapping({"preset": "osc", "faults": [{"kind": "stall", "member": "imagearray", "count": 1}]})
    with SimulatedObservatory(params, clock) as observatory, AlpacaServer(observatory) as server:
        ...                                   # http://127.0.0.1:{server.port}/api/v1/camera/0/...
        observatory.truth(temperature_c=-10)  # what ideal masters would be

Rooms, from the bottom: `params` `detector` `faults` `mapping` `presets` (frozen records); `maps` `sensor` `truth`
(pixels); `scene` `cooler` (light and temperature over time); `device` `camera` `accessories` `devices` (ASCOM
interfaces around one world); `wire` `images` `discovery` `server` (Alpaca).
"""
