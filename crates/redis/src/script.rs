//! The scripts: each is one atomic step. They are sent whole (Redis keeps them compiled by their hash),
//! so that a new master, a flushed script cache or a new node of a cluster needs no second try.
//!
//! A session is a hash: `owner` (32 hexadecimal digits, or empty when nobody owns it) and `state` (JSON).
//! What is not such a hash is unreadable: it is answered with 2, and replaced or passed over as if it
//! were not there.

use redis::Cmd;

/// Key: a session. Arguments: owner, TTL in seconds, state of a new session. Answers [found, state]:
/// found is 0 none, 1 there, 2 unreadable.
pub(crate) const CLAIM: &str = "
local kind = redis.call('TYPE', KEYS[1]).ok
local found, state = 0, ''
if kind == 'hash' then
  local stored = redis.call('HMGET', KEYS[1], 'owner', 'state')
  if stored[1] and stored[2] then found, state = 1, stored[2] end
end
if found == 1 then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1])
else
  if kind ~= 'none' then
    redis.call('DEL', KEYS[1])
    found = 2
  end
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'state', ARGV[3])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {found, state}";

/// Key: a session. Arguments: owner, TTL in seconds, state. Answers 0 another's, 1 written, 2 written
/// in the place of something unreadable.
pub(crate) const SAVE: &str = "
local kind = redis.call('TYPE', KEYS[1]).ok
local owner = kind == 'hash' and redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
local unreadable = kind ~= 'none' and not owner
if unreadable then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'state', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return unreadable and 2 or 1";

/// Keys: sessions of one tenant. Arguments: TTL in seconds, then one owner each. Answers for each 0
/// another's, 1 the owner's or not there, 2 unreadable.
pub(crate) const CHECK: &str = "
local answers = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local owner = kind == 'hash' and redis.call('HGET', key, 'owner')
  if owner and owner ~= ARGV[i + 1] then
    answers[i] = 0
  elseif kind ~= 'none' and not owner then
    answers[i] = 2
  else
    redis.call('EXPIRE', key, ARGV[1])
    answers[i] = 1
  end
end
return answers";

/// Key: a session. Arguments: owner, TTL in seconds. Answers 1 if the owner gave it up.
pub(crate) const RELEASE: &str = "
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', '')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1";

/// The call of a script on these keys; the caller adds the arguments.
pub(crate) fn eval(script: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}
