//! The scripts: each is one atomic step. They are sent whole (Redis keeps them compiled by their hash),
//! so that a new master, a flushed script cache or a new node of a cluster needs no second try.
//!
//! A session is a hash: `owner` (the nonce of its claim in 32 hexadecimal digits, or empty when nobody
//! owns it), `number` (of its claim; a session of a release that gave none has 0), `state` (JSON),
//! `position`, and `new` (`1` while the position is not proven). What is not such a hash is unreadable: it
//! is counted, and replaced as if it were not there.

use redis::Cmd;

/// Key: a session. Arguments: nonce, TTL in seconds, state of a new session, start position, most bytes
/// of a position. Answers [found, number, state, position, new]: found is 0 none, 1 there, 2 unreadable; new
/// is 1 while the position is not proven.
///
/// The number is the time in milliseconds, or one more than the last where that is more: so it also rises
/// over a claim that Redis has forgotten. A clock of Redis that went back matters only to such a session.
pub(crate) const CLAIM: &str = "
local kind = redis.call('TYPE', KEYS[1]).ok
local found, last, state, position, new = 0, 0, '', false, false
if kind == 'hash' then
  local stored = redis.call('HMGET', KEYS[1], 'owner', 'number', 'state', 'position', 'new')
  local number = stored[2] or '0'
  if stored[1] and stored[3] and string.find(number, '^%d+$') and #number < 16 then
    found, last, state, position, new = 1, tonumber(number), stored[3], stored[4], stored[5]
  end
end
if position and #position > tonumber(ARGV[5]) then position = false end
local time = redis.call('TIME')
local number = math.max(last + 1, time[1] * 1000 + math.floor(time[2] / 1000))
number = string.format('%.0f', number)
if found == 0 then
  if kind ~= 'none' then
    redis.call('DEL', KEYS[1])
    found = 2
  end
  redis.call('HSET', KEYS[1], 'state', ARGV[3])
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'number', number)
if not position then redis.call('HSET', KEYS[1], 'position', ARGV[4], 'new', '1') end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {found, number, state, position, (position and new ~= '1') and 0 or 1}";

/// Keys: sessions (of one tenant where Redis is a Cluster). Arguments: TTL in seconds, then for each its
/// number, nonce, flags (`p`: there is a position, `n`: it is not proven, `r`: release), state (empty: none)
/// and position. Answers for each 0 another's, 1 written, 2 behind; 3 and 4 as 1 and 2, where something
/// unreadable stood.
pub(crate) const WRITE: &str = "
local answers = {}
for i, key in ipairs(KEYS) do
  local number, owner, flags, state, position = unpack(ARGV, 5 * i - 3, 5 * i + 1)
  local kind = redis.call('TYPE', key).ok
  local stored, there = nil, nil
  if kind == 'hash' then
    stored = redis.call('HMGET', key, 'owner', 'number')
    local text = stored[2] or '0'
    if stored[1] and string.find(text, '^%d+$') and #text < 16 and redis.call('HEXISTS', key, 'state') == 1 then
      there = tonumber(text)
    end
  end
  local mine = tonumber(number)
  local unreadable = kind ~= 'none' and not there
  if there and (there > mine or (there == mine and stored[1] ~= owner)) then
    answers[i] = 0
  elseif not there and state == '' then
    answers[i] = unreadable and 4 or 2
  else
    local moves = string.find(flags, 'p', 1, true)
    local release = string.find(flags, 'r', 1, true)
    local fields = {}
    if there ~= mine or release then fields = {'owner', release and '' or owner, 'number', number} end
    if state ~= '' then
      fields[#fields + 1] = 'state'
      fields[#fields + 1] = state
    end
    if moves then
      fields[#fields + 1] = 'position'
      fields[#fields + 1] = position
      fields[#fields + 1] = 'new'
      fields[#fields + 1] = string.find(flags, 'n', 1, true) and '1' or ''
    end
    if unreadable then redis.call('DEL', key) end
    if #fields > 0 then redis.call('HSET', key, unpack(fields)) end
    redis.call('EXPIRE', key, ARGV[1])
    local behind = there ~= mine and not (moves and state ~= '')
    answers[i] = (behind and 2 or 1) + (unreadable and 2 or 0)
  end
end
return answers";

/// The call of a script on these keys; the caller adds the arguments.
pub(crate) fn eval(script: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}
