<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The key-value store refused an operation. */
class KVException extends RPCException
{
}
