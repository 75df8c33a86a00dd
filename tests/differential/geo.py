"""Points and searches: GEO*."""

from grammar import Random

TEMPLATES = """
GEOADD <k> [NX | XX] [CH] (<longitude> <latitude> <m>)+
GEOADD <k> (<longitude> <latitude> <m>)+
GEOADD <k> (<longitude> <latitude> <m>)+
GEOADD <k> (NX XX | XX CH | CH) <longitude> <latitude> <m>
GEOADD <k> <east> <north> <m> <east> <north> <m>
!GROW GEOADD <k> <east> <north> <many>
GEOPOS <k> (<m>)+
GEOPOS <k>
GEOHASH <k> (<m>)+
GEODIST <k> <m> <m> [<unit>]
GEOSEARCH <k> (FROMMEMBER <m> | FROMLONLAT <longitude> <latitude>) (BYRADIUS <metres> <unit> | BYBOX <metres> <metres> <unit>) [ASC | DESC] [COUNT <n> [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
GEOSEARCH <k> FROMLONLAT <longitude> <latitude> BYRADIUS <metres> <unit>
GEOSEARCH <k> FROMLONLAT <longitude> <latitude> BYBOX <metres> <metres> <unit> WITHDIST
GEOSEARCH <k> FROMLONLAT <east> <north> BYRADIUS <metres> <unit> (ASC | DESC) COUNT <n>
GEOSEARCH <k> FROMLONLAT <east> <north> BYRADIUS <metres> <unit> COUNT <n> ANY
GEOSEARCH <k> (FROMMEMBER <m> | BYRADIUS 1 m | FROMLONLAT <longitude> <latitude> | BYBOX 1 1 km | ANY | COUNT 1)+
GEOSEARCHSTORE <k> <k> (FROMMEMBER <m> | FROMLONLAT <longitude> <latitude>) (BYRADIUS <metres> <unit> | BYBOX <metres> <metres> <unit>) [ASC | DESC] [COUNT <n> [ANY]] [STOREDIST] [WITHDIST]
GEORADIUS <k> <longitude> <latitude> <metres> <unit> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT <n> [ANY]] [ASC | DESC] [STORE <k>] [STOREDIST <k>]
GEORADIUS_RO <k> <longitude> <latitude> <metres> <unit> [WITHDIST] [COUNT <n>] [ASC | DESC] [STORE <k>]
GEORADIUSBYMEMBER <k> <m> <metres> <unit> [WITHDIST | STORE <k> | STOREDIST <k>] [COUNT <n>]
GEORADIUSBYMEMBER_RO <k> <m> <metres> <unit> [WITHCOORD] [ASC | DESC]
GEORADIUS <k> <longitude> <latitude> <metres> <unit> STOREDIST <k>
ZRANGE <k> 0 -1 WITHSCORES
ZADD <k> <score> <m>
ZADD <k> <hash> <m>
OBJECT ENCODING <k>
DEL <k>
COMMAND GETKEYS GEORADIUS <k> <longitude> <latitude> <metres> <unit> [WITHDIST] STORE <k> [STOREDIST <k>]
COMMAND GETKEYS GEORADIUSBYMEMBER <k> <m> <metres> <unit> [STORE]
"""


class Values(Random):
    """Coordinates, units and lengths. A latitude follows its longitude."""

    SPOTS = ((13.361389, 38.115556), (179.99, 0.0), (-0.001, 51.5), (20.0, 84.9), (0.0, 0.0), (-70.5, -80.2))
    spot = None

    def longitude(self):
        roll = self.rng.random()
        self.spot = None
        if roll < 0.5:
            return f"{self.rng.uniform(-180, 180):.{self.rng.randrange(0, 9)}f}".encode()
        if roll < 0.9:
            return self.east()
        return self.rng.choice((b"180", b"-180", b"0", b"179.9999999", b"180", b"0", b"180.1", b"x", b"inf", b"-1e300"))

    def latitude(self):
        if self.spot:
            return self.north()
        roll = self.rng.random()
        if roll < 0.9:
            return f"{self.rng.uniform(-85.05, 85.05):.{self.rng.randrange(1, 9)}f}".encode()
        return self.rng.choice((b"85.05112878", b"-85.05112878", b"0", b"66.1", b"80.1", b"0", b"85.06", b"-90", b""))

    def east(self):
        """Near one of a few spots, so that searches find something."""
        self.spot = self.rng.choice(self.SPOTS)
        return f"{min(self.spot[0] + self.rng.uniform(-0.02, 0.02), 180):.6f}".encode()

    def north(self):
        return f"{self.spot[1] + self.rng.uniform(-0.02, 0.02):.6f}".encode()

    def metres(self):
        roll = self.rng.random()
        if roll < 0.7:
            return f"{10 ** self.rng.uniform(-2, 7.5):.3f}".encode()
        if roll < 0.9:
            return str(self.rng.randrange(0, 5000)).encode()
        return self.rng.choice((b"0", b"-1", b"inf", b"x", b"1e400", b"20037726.37", b"1e30"))

    def unit(self):
        return self.rng.choice((b"m", b"km", b"km", b"ft", b"mi", b"KM", b"m", b"km", b"miles"))

    def hash(self):
        """A score in the range of those that GEOADD makes, or around it."""
        return str(self.rng.choice((self.rng.randrange(2**52), self.rng.randrange(2**54), -5))).encode()
