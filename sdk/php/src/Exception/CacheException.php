<?php

declare(strict_types=1);

namespace Edge\Exception;

/** What Edge\SimpleCache throws when the store refused an operation or cannot be reached; the cause is the previous exception. */
final class CacheException extends \RuntimeException implements EdgeException, \Psr\SimpleCache\CacheException
{
}
