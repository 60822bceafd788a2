<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The server refused a call; the message is the server's text. */
class RPCException extends \RuntimeException implements EdgeException
{
    public function __construct(string $message, public readonly string $method)
    {
        parent::__construct($message);
    }
}
