"""The list family, and the commands that wait for lists.

These wait for a moment only, which takes redis-server a tenth of a second, and
none is damaged, lest it wait for ever: who is served meanwhile is a matter of
tests with several clients.
"""

TEMPLATES = """
RPUSH <k> (<v>)+
LPUSH <k> (<v>)+
RPUSH <k> (<m>)+
LPUSH <k> (<m>)+
RPUSHX <k> (<m>)+
LPUSHX <k> (<m>)+
!GROW RPUSH <k> <many>
!GROW LPUSH <k> <v>
LPOP <k>
RPOP <k>
LPOP <k> <i>
RPOP <k> <n>
LPOP <k> <junk>
LLEN <k>
LINDEX <k> <i>
LRANGE <k> <i> <i>
LRANGE <k> 0 -1
LSET <k> <i> <v>
LINSERT <k> (BEFORE | AFTER) <m> <v>
LINSERT <k> (BEFORE | AFTER) <m> <m>
LREM <k> <i> <m>
LTRIM <k> <n> <i>
LTRIM <k> <n> -<n>
LPOS <k> <m> [RANK <i>] [COUNT <n>] [MAXLEN <n>]
LPOS <k> <m> [COUNT <n>] [RANK -<n>]
LPOS <k> <m> MAXLEN <i> COUNT <i>
LMOVE <k> <k> (LEFT | RIGHT) (LEFT | RIGHT)
RPOPLPUSH <k> <k>
LMPOP <numkeys> (<k>)+ (LEFT | RIGHT) [COUNT <i>]
LMPOP 2 <k> <k> (LEFT | RIGHT) [COUNT <n>]
OBJECT ENCODING <k>
TYPE <k>
COPY <k> <k> REPLACE
RENAME <k> <k>
DEL <k>
"""

WAITING = """
RPUSH <k> (<m>)+
LPUSH <k> (<m>)+
RPUSH <k> (<m>)+
BLPOP (<k>)+ 0.001
BRPOP <k> 0.001
BLMPOP 0.001 <numkeys> <k> <k> (LEFT | RIGHT) [COUNT <n>]
BLMOVE <k> <k> (LEFT | RIGHT) (LEFT | RIGHT) 0.001
BRPOPLPUSH <k> <k> 0.001
LRANGE <k> 0 -1
"""
