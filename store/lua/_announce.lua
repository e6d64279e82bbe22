-- Announces a message on a topic. In a cluster topics have a hash tag: from Redis 7.0 on, only those are told who
-- are subscribed where the topic's slot is. Older servers, and a server that is no cluster, tell everybody.
local function announce(topic, message)
  if string.find(topic, '{', 1, true) and redis.REDIS_VERSION_NUM then
    return redis.call('SPUBLISH', topic, message)
  end
  return redis.call('PUBLISH', topic, message)
end
