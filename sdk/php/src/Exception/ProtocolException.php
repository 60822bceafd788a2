<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The other side sent bytes that are no frame, or a message that cannot be read. */
final class ProtocolException extends \RuntimeException implements EdgeException
{
}
