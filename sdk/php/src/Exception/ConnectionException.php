<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The server cannot be reached, or went away. Whether a call that was under way was carried out is unknown. */
final class ConnectionException extends \RuntimeException implements EdgeException
{
}
