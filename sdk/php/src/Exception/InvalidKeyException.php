<?php

declare(strict_types=1);

namespace Edge\Exception;

/** A key or a list that PSR-16 does not allow. */
final class InvalidKeyException extends \InvalidArgumentException implements EdgeException, \Psr\SimpleCache\InvalidArgumentException
{
}
