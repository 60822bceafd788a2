<?php

declare(strict_types=1);

namespace Edge\Cache;

use Edge\Exception\EdgeException;

/** A key, a tag or a time that PSR-6 does not allow. */
final class InvalidArgument extends \InvalidArgumentException implements EdgeException, \Psr\Cache\InvalidArgumentException
{
}
