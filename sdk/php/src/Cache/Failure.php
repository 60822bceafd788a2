<?php

declare(strict_types=1);

namespace Edge\Cache;

use Edge\Exception\EdgeException;

/** The storage of a Pool does not exist: a mistake in a configuration, not an outage. */
final class Failure extends \RuntimeException implements EdgeException, \Psr\Cache\CacheException
{
}
