<?php

declare(strict_types=1);

namespace Edge\Exception;

/** Thrown into code that prints a response when its client has left, so that the code ends and its finally blocks run. */
final class ClientGoneException extends \RuntimeException implements EdgeException
{
    public function __construct()
    {
        parent::__construct('the client of this response is gone');
    }
}
