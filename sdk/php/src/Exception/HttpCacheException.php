<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The server could not purge: what was asked for is still served. */
class HttpCacheException extends RPCException
{
}
